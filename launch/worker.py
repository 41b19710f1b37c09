"""One process of a run over several: sets the platform's flags, joins the others, then runs a module as `python -m`
would.

    python -m launch.worker --platform=tpu -- spatial_jax.train --config=... --workdir=...

On a TPU pod the processes find each other by the TPU's own metadata. Elsewhere they are told: --coordinator=HOST:PORT
--processes=N --process=I.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence

from launch.xla_flags import PLATFORMS, environment
from spatial_jax.checkpoints import leave_at_once
from spatial_jax.options import Parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser("python -m launch.worker", __doc__, named="[options] MODULE [ARGUMENT ...]")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--devices", type=int, help="devices that a CPU process pretends to have")
    parser.add_argument("--coordinator", default="", help="HOST:PORT of process 0")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    leave_at_once()  # until the module takes over: processes may wait long for the last one to join
    os.environ.update(environment(args.platform, args.devices, os.environ, args.processes))
    import jax

    if args.coordinator:
        jax.distributed.initialize(args.coordinator, args.processes, args.process)
    elif args.platform == "tpu":
        jax.distributed.initialize()
    sys.argv = [args.module, *args.arguments]
    runpy.run_module(args.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

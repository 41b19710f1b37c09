r"""Trains a policy: supervised, DPO or GRPO, as the config says. Run again with the same --workdir, it resumes.

    python -m spatial_jax.train --config=configs/quickstart.py:grpo --workdir=runs/my_run \
        --config.model.path=DIR --config.data.paths='("DIR",)'

Any key of the config can be overridden as above; a key that does not exist is an error that names the nearest, and
--keys prints all of them with their types, defaults and meanings. A run that goes on with other settings or data than
it was begun with is refused unless --allow_changes.
"""

from __future__ import annotations

import logging
import sys

from absl import flags
from ml_collections import config_flags

from spatial_jax.checkpoints import Preempted, leave_at_once
from spatial_jax.command_line import start
from spatial_jax.logs import log_to_console
from spatial_jax.pages import say

_CONFIG = config_flags.DEFINE_config_file("config", None, "recipe, e.g. configs/quickstart.py:grpo", lock_config=True)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "directory of the run: config.json, metrics.jsonl, checkpoints/, gallery/, export/"
)
_RESUME = flags.DEFINE_bool(
    "resume",
    True,
    "go on from the newest checkpoint in --workdir; --noresume moves what is there aside and begins anew",
)
_ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes", False, "go on from a checkpoint although the settings or data that make the run are others now"
)
_ANY_PROCESSES = flags.DEFINE_bool(
    "any_processes", False, "go on from a checkpoint that another number of processes has saved"
)


def main(argv: list[str]) -> int:
    """0 when finished; 75 when asked to stop and saved (launchers start it again); 2 with one line for what cannot
    run.
    """
    if len(argv) > 1:
        print(f"train: unexpected argument {argv[1]!r}; options start with --", file=sys.stderr)
        return 2
    log_to_console(unraised=(Preempted,))
    from spatial_jax import config as run_config
    from spatial_jax.training.loop import train

    try:
        return train(
            run_config.strict(_CONFIG.value),
            str(_WORKDIR.value),
            resume=_RESUME.value,
            allow_changes=_ALLOW_CHANGES.value,
            any_processes=_ANY_PROCESSES.value,
        )
    except (ValueError, OSError) as error:
        logging.getLogger(__name__).debug("cause", exc_info=True)
        say(f"train: {error}", stream=sys.stderr)
        return 2


if __name__ == "__main__":
    leave_at_once()
    flags.mark_flags_as_required(["config", "workdir"])
    from spatial_jax.training.settings import RunConfig

    start(
        main,
        __doc__,
        RunConfig,
        groups={"the run": "config workdir", "going on": "resume allow_changes any_processes"},
        goes_on=True,
    )

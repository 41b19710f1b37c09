"""A run that a test kills: resumes from the newest checkpoint, checks it, and saves step after step. Arguments:
workdir, last step.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from spatial_jax.checkpoints import EXIT_PREEMPTED, CheckpointManager, PreemptionGuard, restore_or_start


def expected(step):
    """The state of a step, recomputed from nothing."""
    return {"w": np.random.default_rng(step).normal(size=(64, 1024)).astype(np.float32), "n": np.array(step)}


def main(workdir, last):
    like = {"w": jax.ShapeDtypeStruct((64, 1024), jnp.float32), "n": jax.ShapeDtypeStruct((), jnp.int64)}
    with CheckpointManager(workdir, keep=2) as manager, PreemptionGuard() as guard:
        state, host, step = restore_or_start(manager, like, lambda: (expected(0), {"position": 0}))
        step = step or 0
        assert host == {"position": 10 * step}, host
        np.testing.assert_array_equal(state["w"], expected(step)["w"])
        print("resumed", step, flush=True)
        while step < last:
            step += 1
            manager.save(
                step, jax.tree.map(jnp.asarray, expected(step)) | {"n": np.array(step)}, {"position": 10 * step}
            )
            print("saved", step, flush=True)
            if guard.should_stop():
                manager.wait()
                sys.exit(EXIT_PREEMPTED)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

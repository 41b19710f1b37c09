"""One of two processes that save together. Arguments: workdir, address, process id, what to do (save or restore)."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from spatial_jax.checkpoints import CheckpointManager

workdir, address, process = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(address, 2, process)
value = np.arange(64, dtype=np.float32).reshape(8, 8)
data = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
array = jax.make_array_from_callback(value.shape, data, lambda index: value[index])
other = NamedSharding(Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b")), P("b", "a"))
with CheckpointManager(workdir, keep=1) as manager:
    for step in (1, 2):
        manager.save(step, {"w": array}, {"process": process, "step": step})
    restored, host = manager.restore(like={"w": jax.ShapeDtypeStruct(value.shape, jnp.float32, sharding=other)})
    assert host == {"process": process, "step": 2}, host
    assert manager.all_steps() == [2]
    for shard in restored["w"].addressable_shards:
        np.testing.assert_array_equal(np.asarray(shard.data), value[shard.index])
print("ok", flush=True)

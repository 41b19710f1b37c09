"""A checkpoint comes back exactly, on any mesh; damage of every kind is named before anything is restored from it."""

import json
import os
import pathlib
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from spatial_jax.checkpoints import CheckpointDamaged, CheckpointManager, CheckpointNotWritten, restore_or_start


def make_state(seed=0, size=64):
    key = jax.random.key(seed)
    return {
        "params": {"w": jax.random.normal(key, (16, size)), "b": jnp.full((8,), 1.5, jnp.bfloat16)},
        "opt": (jnp.arange(4.0), np.arange(3)),
        "key": jax.random.key(seed + 1),
        "step": seed,
        "lr": 0.5,
    }


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
        assert np.asarray(x).dtype == np.asarray(y).dtype


def data_file(manager, step):
    files = [
        p
        for p in pathlib.Path(str(manager.path(step))).rglob("*")
        if p.is_file() and p.name != "manifest.json" and "state" in str(p)
    ]
    return max(files, key=lambda p: p.stat().st_size)


def test_exact_round_trip_with_host_state(tmp_path):
    host = {"iterator": b"\x00\xff\x80", "curriculum": {"a": [1, 2.5, None, True]}, "pending": ["x", "\u00e9\u4e2d"]}
    with CheckpointManager(tmp_path) as manager:
        state = make_state(3)
        manager.save(7, state, host)
        restored, restored_host = manager.restore(like=state)
    assert_same(state, restored)
    assert restored_host == host
    assert type(restored["step"]) is int and type(restored["lr"]) is float


def test_restores_onto_another_mesh(tmp_path):
    devices = np.array(jax.devices())
    assert devices.size == 8
    first, second = Mesh(devices.reshape(8), ("data",)), Mesh(devices.reshape(2, 4), ("data", "model"))
    value = np.random.default_rng(0).normal(size=(16, 64)).astype(np.float32)
    state = {"w": jax.device_put(value, NamedSharding(first, P("data")))}
    like = {"w": jax.ShapeDtypeStruct((16, 64), jnp.float32, sharding=NamedSharding(second, P("model", "data")))}
    with CheckpointManager(tmp_path) as manager:
        manager.save(1, state)
        restored, _ = manager.restore(1, like)
    assert restored["w"].sharding == like["w"].sharding
    np.testing.assert_array_equal(np.asarray(restored["w"]), value)


def test_arrays_may_be_donated_right_after_a_save(tmp_path):
    change = jax.jit(lambda w: w * 0 - 1, donate_argnums=0)
    state = {"w": jax.random.normal(jax.random.key(0), (512, 512))}
    before = np.array(state["w"], copy=True)
    with CheckpointManager(tmp_path) as manager:
        manager.save(1, state)
        change(state["w"]).block_until_ready()
        restored, _ = manager.restore()
    np.testing.assert_array_equal(restored["w"], before)


def test_ten_megabytes_hardly_block_the_caller(tmp_path):
    state = {"w": jax.random.normal(jax.random.key(0), (2_500_000,)).block_until_ready()}
    with CheckpointManager(tmp_path) as manager:
        manager.save(0, state, wait=True)
        began = time.monotonic()
        manager.save(1, state)
        assert time.monotonic() - began < 0.9


def test_keeps_the_newest_and_every_nth(tmp_path):
    state = {"w": jnp.zeros(4)}
    with CheckpointManager(tmp_path, keep=2, keep_every=4) as manager:
        assert manager.latest() is None
        for step in range(1, 8):
            manager.save(step, state)
        manager.wait()
        assert manager.all_steps() == [4, 6, 7]
        assert manager.latest() == 7
        with pytest.raises(FileNotFoundError, match=r"step 5 .* \[4, 6, 7\]"):
            manager.restore(5)


def test_a_step_saved_again_replaces_the_first_only_when_complete(tmp_path):
    with CheckpointManager(tmp_path) as manager:
        manager.save(5, {"w": jnp.zeros(4)}, "first")
        manager.save(5, {"w": jnp.ones(4)}, "second")
        restored, host = manager.restore(5)
        assert host == "second" and restored["w"].tolist() == [1, 1, 1, 1]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["00000005.1"]


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "damage, words",
    [
        (_flip, "checksum differs"),
        (lambda p: p.write_bytes(p.read_bytes()[:-5]), "bytes instead of"),
        (lambda p: p.unlink(), "is missing"),
    ],
)
def test_damage_is_named_and_the_one_before_offered(tmp_path, damage, words):
    with CheckpointManager(tmp_path) as manager:
        for step in (10, 20):
            manager.save(step, make_state(step), {"step": step}, wait=True)
        damage(data_file(manager, 20))
        with pytest.raises(CheckpointDamaged, match=f"step 20 .*{words}.*step 10, is intact"):
            manager.restore(like=make_state())
        restored, host = manager.restore(like=make_state(), fallback=True)
        assert host == {"step": 10} and restored["step"] == 10
        damage(data_file(manager, 10))
        with pytest.raises(CheckpointDamaged, match="no intact checkpoint before"):
            manager.restore(like=make_state(), fallback=True)


def test_damaged_manifest_and_host_state_are_named(tmp_path):
    with CheckpointManager(tmp_path) as manager:
        manager.save(1, make_state(), {"a": 1}, wait=True)
        _flip(pathlib.Path(str(manager.path(1))) / "host" / "process_00000.json")
        with pytest.raises(CheckpointDamaged, match=r"process_00000\.json"):
            manager.restore(like=make_state())
        manifest = pathlib.Path(str(manager.path(1))) / "manifest.json"
        body = json.loads(manifest.read_text())
        body["step"] = 2
        manifest.write_text(json.dumps(body))
        with pytest.raises(CheckpointDamaged, match=r"manifest\.json is damaged"):
            manager.restore(like=make_state())


def test_another_model_is_named(tmp_path):
    with CheckpointManager(tmp_path) as manager:
        manager.save(1, make_state())
        like = make_state()
        like["params"]["w"] = jnp.zeros((16, 32))
        with pytest.raises(ValueError, match=r"leaf 'params/w' is float32\[16, 64\] there and float32\[16, 32\]"):
            manager.restore(like=like)
        with pytest.raises(ValueError, match="holds no leaf 'other'"):
            manager.restore(like={**make_state(), "other": jnp.zeros(1)})
        with pytest.raises(ValueError, match="partial=True"):
            manager.restore(like={"params": make_state()["params"]})
        part, _ = manager.restore(like={"params": make_state()["params"]}, partial=True)
        assert_same(part["params"], make_state()["params"])


def test_host_state_that_json_would_change_is_refused(tmp_path):
    with CheckpointManager(tmp_path) as manager:
        with pytest.raises(TypeError, match=r"host_state\['a'\] has the key 1"):
            manager.save(1, make_state(), {"a": {1: 2}})
        with pytest.raises(TypeError, match=r"host_state\['b'\]\[0\] is a set"):
            manager.save(1, make_state(), {"b": [set()]})
        assert manager.all_steps() == []


def test_incomplete_remains_are_invisible_and_removed(tmp_path):
    with CheckpointManager(tmp_path) as manager:
        manager.save(1, make_state(), wait=True)
    os.makedirs(tmp_path / "checkpoints" / "00000002" / "state")
    with CheckpointManager(tmp_path) as manager:
        assert manager.all_steps() == [1]
        manager.save(3, make_state(), wait=True)
        assert manager.all_steps() == [1, 3]
    assert not (tmp_path / "checkpoints" / "00000002").exists()


def test_errors_of_the_background_reach_the_caller(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("spatial_jax.checkpoints.manager.write_manifest", full)
    manager = CheckpointManager(tmp_path)
    manager.save(1, make_state())
    with pytest.raises(CheckpointNotWritten, match="No space left on device; there is none before it"):
        manager.wait()
    assert manager.all_steps() == []
    manager.close()


def test_restore_or_start(tmp_path):
    with CheckpointManager(tmp_path) as manager:
        state, host, step = restore_or_start(manager, make_state(), lambda: (make_state(1), {"fresh": True}))
        assert step is None and host == {"fresh": True}
        manager.save(4, state, {"fresh": False})
        manager.wait()
        restored, host, step = restore_or_start(manager, make_state(), lambda: (make_state(1), {"fresh": True}))
        assert step == 4 and host == {"fresh": False}
        assert_same(state, restored)


def test_a_disk_without_room_is_named_before_anything_is_written(tmp_path, monkeypatch):
    with CheckpointManager(tmp_path) as manager:
        manager.save(1, make_state(), wait=True)
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
        with pytest.raises(CheckpointNotWritten, match=r"No space left on device \(0 MB free, .* step 1 is intact"):
            manager.save(2, make_state())
        assert manager.all_steps() == [1] and len(list((tmp_path / "checkpoints").iterdir())) == 1

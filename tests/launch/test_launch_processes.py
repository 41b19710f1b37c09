"""A rehearsed pod trains as one process does: the same answers, rewards and losses from two processes of two devices as from one of four."""
import pytest

from launch.rehearsal import rehearse
from spatial_jax.metrics import read_metrics
from tests.tiny_worlds import make_world


def test_two_processes_train_as_one(tmp_path, monkeypatch):
    world = make_world(tmp_path, scenes=24, families="bearing,depth_order2", seed=5)
    monkeypatch.setenv("XLA_FLAGS", "")
    options = {"model.path": world / "policy", "data.paths": f"('{world / 'questions'}',)", "run.steps": 2, "run.prompts": 8, "run.update_prompts": 8,
               "run.micro_prompts": 8, "rollout.group_size": 4, "algorithm.drop_zero_variance": False, "algorithm.refill_rounds": 1,
               "optimizer.warmup_steps": 0, "optimizer.schedule": "constant", "log.console_every": 1, "log.gallery_every": 0, "data.cache_mib": 16,
               "mesh.fsdp": -1}
    rows = {}
    for processes in (2, 1):
        given = [f"--config.{k}={v}" for k, v in options.items()]
        arguments = ["--config=configs/quickstart.py:grpo", f"--workdir={tmp_path / str(processes)}", *given]
        assert rehearse(processes, 4 // processes, ["spatial_jax.train", *arguments], tmp_path / "logs") == 0
        rows[processes] = read_metrics(tmp_path / str(processes))
        assert (tmp_path / str(processes) / "export" / "model.safetensors").is_file()
    assert [row["step"] for row in rows[2]] == [1, 2]
    for two, one in zip(rows[2], rows[1], strict=True):
        assert two["reward/mean"] == one["reward/mean"] and two["answer_tokens"] == one["answer_tokens"]
        for name in ("loss", "kl/reference", "entropy", "grad_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6), name


def test_processes_without_a_mesh_are_refused(tmp_path, capfd):
    arguments = ["--config=configs/quickstart.py:grpo", f"--workdir={tmp_path / 'run'}", "--config.model.path=configs/quickstart_policy"]
    assert rehearse(2, 1, ["spatial_jax.train", *arguments], tmp_path / "logs", grace=5.0) == 2
    assert "train: the mesh is of one device, but 2 processes" in capfd.readouterr().out + (tmp_path / "logs" / "process_1.txt").read_text()

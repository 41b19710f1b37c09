"""The measurement of one card: its parts run on tiny shapes, one that fails or hangs is named, the rest goes on."""

import json
import re
import sys
import types

import numpy as np
import pytest

from benchmarks import one_gpu
from benchmarks.card import Work


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return Work.tiny(tmp_path_factory.mktemp("card"))


@pytest.mark.parametrize("part", ["prefill", "rollout", "update", "transformers_prefill"])
def test_a_part_runs_on_tiny_shapes(work, part):
    told = one_gpu.measure(part, work)
    tokens = {"prefill": 2 * 64, "rollout": 2 * 2 * 8, "update": 2 * 8}[part.removeprefix("transformers_")]
    assert told["tokens_per_s"] == pytest.approx(tokens / told["seconds"], rel=0.05, abs=0.05)
    json.dumps(told)
    if part == "rollout":
        assert 0 < told["gap"] < 0.02 and told["read_gb"] > 0


def test_what_fails_or_hangs_is_named_and_the_rest_goes_on(tmp_path, monkeypatch):
    """The parts' own commands are replaced; what runs them is not."""
    scripts = {
        "prefill": """open("prefill.json", "w").write('{"seconds": 0.5}'); print("noise", end="")""",
        "rollout": "import time; print('compiles', flush=True); time.sleep(60)",
        "update": "raise SystemExit('out of memory')",
        "recipe": """open("recipe.json", "w").write('{"seconds_a_step": 3.5}')""",
    }
    run_part, out = one_gpu.run_part, tmp_path / "result.json"
    written = []

    def run(name, command, log, limit_s):
        written.append(json.loads(out.read_text()) if out.exists() else None)
        return run_part(name, [sys.executable, "-c", scripts[name]], log, 1.5 if name == "rollout" else limit_s)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(one_gpu, "run_part", run)
    monkeypatch.setattr(one_gpu, "card", lambda: "NVIDIA H200")
    code = one_gpu.main(["--parts=prefill,rollout,vllm_rollout,update,recipe", f"--out={out}", f"--folder={tmp_path}"])
    parts = json.loads(out.read_text())["parts"]
    assert code == 1 and [len(each["parts"]) if each else 0 for each in written] == [0, 1, 3, 4]
    assert parts["rollout"] == {"failed": "not done after 2 s: compiles"}
    assert parts["update"] == {"failed": "ended with 1: out of memory"}
    assert parts["vllm_rollout"] == {"failed": "vllm is not installed"}
    assert parts["recipe"]["seconds_a_step"] == 3.5


def test_the_table_derives_the_token_step():
    rollout = {"seconds": 2.0, "tokens_per_s": 8192, "read_gb": 7.2, "bandwidth": 4.8e12, "gap": 0.01}
    rows = {
        row[0]: row[1] for row in one_gpu.table({"prefill": {"seconds": 0.08}, "rollout": rollout}, {"rolled": 128})
    }
    assert rows["rollout without prefill, ms a token step"] == "15.00"
    assert rows["its least reads, share of bandwidth"] == "10.0%"


def test_no_gpu_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(one_gpu, "card", lambda: "")
    assert one_gpu.main(["--all"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_is_asked_for_is_checked_before_the_card_is(capsys):
    for wrong, told in (
        ("--parts=rolout", "did you mean 'rollout'?"),
        ("--model=qwen2_5_vl_3", "did you mean 'qwen2_5_vl_3b'"),
        ("--layers=-1", "give 1 or more"),
        ("--out=nowhere/one_gpu.json", "there is no folder nowhere"),
    ):
        with pytest.raises(SystemExit) as end:
            one_gpu.main([wrong] if "--parts" in wrong else ["--all", wrong])
        assert end.value.code == 2 and told in capsys.readouterr().err


def test_vllm_is_asked_for_what_the_others_are(work, monkeypatch):
    """A stand-in with vLLM's names; it counts what it is given."""
    asked = []

    class LLM:
        def __init__(self, **settings):
            assert settings["max_model_len"] == work.prompt + work.rolled

        def generate(self, prompts, sampling):
            asked.append(prompts)
            answer = types.SimpleNamespace(token_ids=[0] * sampling["max_tokens"])
            return [types.SimpleNamespace(outputs=[answer] * sampling["n"]) for _ in prompts]

    vllm = types.SimpleNamespace(LLM=LLM, SamplingParams=dict, __version__="0")
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    with pytest.raises(RuntimeError, match="no policy"):
        one_gpu.measure("vllm_rollout", work)
    monkeypatch.setattr("benchmarks.card.served.read_config", lambda folder: work.config)
    (work.folder / "policy").mkdir()
    (work.folder / "policy" / "config.json").write_text("{}")
    assert one_gpu.measure("vllm_rollout", work)["tokens_per_s"] > 0
    prompt, config = asked[0][0], work.config
    pictured = work.grid[0] * work.grid[1] // config.vision.merge_unit
    assert prompt["prompt_token_ids"].count(config.image_token_id) == 1
    assert len(prompt["prompt_token_ids"]) - 1 + pictured == work.prompt
    pixels = [np.asarray(each[0]["multi_modal_data"]["image"]) for each in asked]
    assert pixels[0].shape == (112, 112, 3) and not np.array_equal(pixels[0], pixels[1])


def test_the_wheels_command_is_one_that_pip_takes():
    from pip._internal.commands import create_command

    text = one_gpu.__doc__.replace("\\\n", " ")
    taken, installed = re.findall(r"^ +pip (download|install) (.*)$", text, re.M)
    options, rest = create_command("download").parse_args(taken[1].replace('"', "").split())
    assert rest == [".[cuda,prep,bench]"] and options.constraints[-1] == "constraints.txt"
    assert options.python_version == (3, 12) and options.download_dir == "wheels"
    options, _ = create_command("install").parse_args(installed[1].replace('"', "").split())
    assert options.no_index and options.find_links[-1] == "wheels" and options.editables == rest


@pytest.mark.proof
def test_all_of_it_on_tiny_shapes(tmp_path):
    out = tmp_path / "one.json"
    code = one_gpu.main(["--all", "--tiny", f"--out={out}"])
    failed = {name: told["failed"] for name, told in json.loads(out.read_text())["parts"].items() if "failed" in told}
    assert failed in ({}, {"vllm_rollout": "vllm is not installed"}) and code == bool(failed)

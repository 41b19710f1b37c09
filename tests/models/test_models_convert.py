"""The convert command: its table on three families in both key spellings, its errors, rewriting."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tiny_checkpoints as tiny
from safetensors.torch import load_file, save_file

from spatial_jax.convert import main
from spatial_jax.models import hf_weights, load_pretrained, policy, reference, save_pretrained, verify
from spatial_jax.models.safetensors_io import Checkpoint


@pytest.fixture(autouse=True)
def at_hand():
    """transformers answers in this process: a process of its own takes longer to start than all else of a test."""
    start = subprocess.run

    def run(command, **given):
        if "spatial_jax.models.reference" not in command:
            return start(command, **given)
        reference.main(Path(command[-1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", run)
        yield patch


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("style", ["v4", "v5"])
def test_verify_prints_a_table_and_passes(tmp_path, capsys, monkeypatch, at_hand, family, style):
    if (family, style) == ("qwen2_5_vl", "v5"):  # all five cases, and the true process, once
        at_hand.undo()
    else:
        monkeypatch.setattr(verify, "CASES", {name: verify.CASES[name] for name in ("text", verify.DECODED)})
    tiny.make(tmp_path / "in", family, tied=family == "qwen3_vl")
    assert main(["--from", str(tmp_path / "in"), "--to_hf", str(tmp_path / "out"), "--style", style]) == 0
    assert main(["--verify", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert out.count(" ok\n") == len(verify.CASES) and "equal to transformers in all cases" in out
    assert "positions were compared by the rule 'hf5'" in out and "use 'qwen'" in out


def test_verify_sees_what_our_reader_gets_wrong(tmp_path, capsys, monkeypatch):
    """Each fault is put into our reader alone; transformers reads the folder for itself."""
    monkeypatch.setattr(verify, "CASES", {"text": verify.CASES["text"]})
    tiny.make(tmp_path, "qwen2_vl")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    swapped, canonical = {"up_proj": "gate_proj", "gate_proj": "up_proj"}, hf_weights.canonical_name
    faults = {
        "head": [(module, "settle_head", lambda checkpoint, config: config) for module in (policy, verify)],
        "names": [
            (hf_weights, "canonical_name", lambda n: re.sub(r"(up|gate)_proj", lambda m: swapped[m[0]], canonical(n)))
        ],
    }
    for patches in faults.values():
        with monkeypatch.context() as patched:
            for patch in patches:
                patched.setattr(*patch)
            assert main(["--verify", str(tmp_path)]) == 1
        assert "1 of 1 cases differ" in capsys.readouterr().out


def test_verify_takes_the_files_that_transformers_takes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verify, "CASES", {"text": verify.CASES["text"]})
    tiny.make(tmp_path / "new", "qwen2_5_vl", seed=1)
    tiny.make(tmp_path / "old", "qwen2_5_vl", seed=2)
    old = load_pretrained(tmp_path / "old")
    hf_weights.save_params(tmp_path / "old", old.config, old.params, shard_bytes=200_000)
    shutil.copytree(tmp_path / "old", tmp_path / "new", dirs_exist_ok=True)
    assert main(["--verify", str(tmp_path / "new")]) == 0
    monkeypatch.setattr(Checkpoint, "_files", lambda self: sorted(self.directory.glob("model-*.safetensors")))
    assert main(["--verify", str(tmp_path / "new")]) == 1


def test_what_transformers_cannot_take_is_one_line(tmp_path, capsys, monkeypatch):
    tiny.make(tmp_path / "in", "qwen3_vl")
    save_pretrained(load_pretrained(tmp_path / "in"), tmp_path / "v4", style="v4")
    monkeypatch.setattr(verify, "_key_mapping", lambda *_: None)
    assert main(["--verify", str(tmp_path / "v4")]) == 2
    (line,) = [line for line in capsys.readouterr().err.split("\n") if line.startswith("convert: ")]
    assert "transformers finds 35 tensors missing" in line
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -9, "", ""))
    assert main(["--verify", str(tmp_path / "in")]) == 2 and "SIGKILL" in capsys.readouterr().err


def test_verify_in_half_precision_allows_what_transformers_itself_loses_and_no_more(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verify, "CASES", {"two images": verify.CASES["two images"]})
    tiny.make(tmp_path, "qwen2_5_vl")
    rows = verify.verify_checkpoint(tmp_path, "bfloat16")
    assert rows[0].passed and 1e-3 < rows[0].rms_bound < 0.5 and rows[0].rms_error < rows[0].rms_bound
    assert not dataclasses.replace(rows[0], rms_error=rows[0].rms_bound * 1.01).passed
    assert not dataclasses.replace(rows[0], rms_error=float("nan")).passed
    assert main(["--verify", str(tmp_path), "--dtype", "bfloat16"]) == 0 and "rms allowed" in capsys.readouterr().out


def test_a_hub_name_is_downloaded_first(tmp_path, capsys, monkeypatch):
    tiny.make(tmp_path / "in", "qwen2_vl")
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, allow_patterns: str(tmp_path / "in") if name == "owner/tiny" else 1 / 0,
    )
    monkeypatch.setattr(verify, "CASES", {"text": verify.CASES["text"]})
    assert (
        main(["--verify", "owner/tiny"]) == 0 and main(["--from", "owner/tiny", "--to_hf", str(tmp_path / "out")]) == 0
    )
    assert (
        "owner/tiny: equal to transformers" in capsys.readouterr().out
        and (tmp_path / "out" / "model.safetensors").is_file()
    )
    assert main(["--verify", "owner/other"]) == 2 and "nor to be had from the hub" in capsys.readouterr().err


def test_rewriting_keeps_every_bit_in_either_spelling(tmp_path):
    tiny.make(tmp_path / "in", "qwen2_5_vl").half().save_pretrained(tmp_path / "in")
    for style in ("v5", "v4"):
        assert main(["--from", str(tmp_path / "in"), "--to_hf", str(tmp_path / style), "--style", style]) == 0
    original, again = (load_file(tmp_path / name / "model.safetensors") for name in ("in", "v4"))
    assert set(original) == set(again) and all((original[name] == again[name]).all() for name in original)
    assert all(
        name.startswith(("model.visual.", "model.language_model.", "lm_head."))
        for name in load_file(tmp_path / "v5" / "model.safetensors")
    )


def test_errors_are_one_line_and_exit_code_two(tmp_path, capsys):
    assert main(["--verify", str(tmp_path / "nowhere")]) == 2
    tiny.make(tmp_path, "qwen2_vl")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("visual.merger.ln_q.bias")
    save_file(tensors, tmp_path / "model.safetensors")
    assert main(["--from", str(tmp_path), "--to_hf", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err.strip().split("\n")
    errors = [line for line in errors if line.startswith("convert: ")]  # other libraries may warn on the same stream
    assert len(errors) == 2 and "no such folder" in errors[0] and "missing visual.merger.ln_q.bias" in errors[1]
    with pytest.raises(SystemExit):
        main([])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--fresh=tiny --out=o", "--fresh SIZE needs --texts"),
        ("--fresh=tiny --texts=d --out=o --style=v4", "--style does nothing with --fresh"),
        ("--fresh=configs/quickstart_policy --texts=d --out=o", "whose tokenizer is kept: leave --texts"),
        ("--fresh=tiny --texts=d --out=o --vocab_size=0", "--vocab_size=0: 1 or more"),
        ("--verify=d --seed=3", "--seed does nothing with --verify"),
        ("--from=d --to_hf=o --texts=t", "--texts does nothing with --to_hf"),
    ],
)
def test_options_that_would_do_nothing_are_refused(args, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(args.split())
    error = capsys.readouterr().err
    assert stop.value.code == 2 and words in error and error.count("\n") == 1

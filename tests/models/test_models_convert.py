"""The convert command: its table on three families in both key spellings, its errors, rewriting."""

import dataclasses

import pytest
import tiny_checkpoints as tiny
from safetensors.torch import load_file, save_file

from spatial_jax.convert import main
from spatial_jax.models import verify


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("style", ["v4", "v5"])
def test_verify_prints_a_table_and_passes(tmp_path, capsys, monkeypatch, family, style):
    if (family, style) != ("qwen2_5_vl", "v5"):  # all five cases once; every case is a compilation
        monkeypatch.setattr(verify, "CASES", {name: verify.CASES[name] for name in ("text", verify.DECODED)})
    tiny.make(tmp_path / "in", family, tied=family == "qwen3_vl")
    assert main(["--from", str(tmp_path / "in"), "--to_hf", str(tmp_path / "out"), "--style", style]) == 0
    assert main(["--verify", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert out.count(" ok\n") == len(verify.CASES) and "equal to transformers in all cases" in out


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

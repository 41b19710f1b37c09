"""transformers' own numbers for a checkpoint folder, which `convert --verify` compares with. A process of its own,

    python -m spatial_jax.models.reference WORK

and reads the folder by transformers' `from_pretrained` alone, so that no fault of our reading is on both sides. WORK
holds job.json and inputs.npz (`ask` writes them); results.npz and told.json are written beside them. PyTorch and
transformers' models are imported here by name and only when a comparison is asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# Qwen3-VL in the "v4" spelling is read by us and, with its names mapped, by transformers.
V4_NAMES = {r"^visual\.": "model.visual.", r"^model\.(?!language_model\.|visual\.)": "model.language_model."}
_GRIDS = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
_LIBRARIES: list[Any] = []


@dataclasses.dataclass(frozen=True)
class Run:
    """One pass over the cases. dtype: type to compute in; weights: type that the tensors are rounded to first;
    new_tokens: greedy tokens of the case that is decoded.
    """

    dtype: str
    weights: str
    new_tokens: int


def import_torch() -> tuple[Any, Any]:
    """(torch, transformers); RuntimeError says what to install."""
    try:
        torch = importlib.import_module("torch")
        try:
            importlib.import_module("torchvision")
        except ImportError:
            pass
        except RuntimeError:
            # A torchvision wheel for another torch lacks its operators; transformers' models never call them.
            # The definitions live as long as the library object does.
            _LIBRARIES.append(torch.library.Library("torchvision", "DEF"))
            for name in ("nms", "qnms"):
                _LIBRARIES[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return torch, importlib.import_module("transformers")
    except ImportError as error:
        raise RuntimeError(
            f"verify: needs PyTorch and transformers to compare with ({error}); pip install torch transformers"
        ) from None


def torch_model(
    directory: str | os.PathLike, dtype: str = "float32", weights: str = "float32", key_mapping: Any = None
) -> Any:
    """The model that transformers reads from the folder, computing in `dtype`, its weights rounded to `weights` first.
    ValueError when transformers would fill tensors at random.
    """
    torch, transformers = import_torch()
    model, told = transformers.AutoModelForImageTextToText.from_pretrained(
        directory,
        dtype=getattr(torch, dtype),
        output_loading_info=True,
        key_mapping=key_mapping,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    for kind in ("missing_keys", "mismatched_keys"):
        if names := sorted(map(str, told.get(kind) or ())):
            raise ValueError(
                f"{directory}: transformers finds {len(names)} tensors {kind.split('_')[0]} ({', '.join(names[:3])}"
                f"{', ...' if len(names) > 3 else ''}) and would fill them at random"
            )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(getattr(torch, weights)))
    return model.eval()


def _answer(model: Any, inputs: dict[str, np.ndarray], new_tokens: int, banned: list[int]) -> dict[str, np.ndarray]:
    """logits [b, s, v]; positions [3, b, s] where there are pictures; greedy [b, new_tokens] where asked for."""
    torch = importlib.import_module("torch")
    tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
    grids = {key: tensors[key] for key in _GRIDS if key in tensors}
    out = {}
    with torch.no_grad():
        out["logits"] = model(**tensors).logits.float().numpy()
        if new_tokens:
            greedy = model.generate(
                **tensors,
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=1,
                suppress_tokens=banned,
                repetition_penalty=1.0,
            )
            out["greedy"] = greedy[:, inputs["input_ids"].shape[1] :].numpy()
        if "image_grid_thw" in grids or "video_grid_thw" in grids:
            out["positions"] = model.model.get_rope_index(
                tensors["input_ids"],
                mm_token_type_ids=tensors["mm_token_type_ids"],
                attention_mask=tensors["attention_mask"],
                **grids,
            )[0].numpy()
    return out


def main(work: Path) -> None:
    """The process: job.json and inputs.npz of `work` to results.npz and told.json."""
    job = json.loads((work / "job.json").read_text())
    with np.load(work / "inputs.npz") as file:
        given = {name: file[name] for name in file.files}
    results: dict[str, Any] = {}
    told: dict[str, str] = {}
    try:
        transformers = import_torch()[1]
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        told["version"] = transformers.__version__
        for number, run in enumerate(job["runs"]):
            model = torch_model(job["directory"], run["dtype"], run["weights"], job["key_mapping"])
            for case in job["cases"]:
                inputs = {name.split("/")[1]: value for name, value in given.items() if name.startswith(f"{case}/")}
                new_tokens = run["new_tokens"] if case == job["decoded"] else 0
                for name, value in _answer(model, inputs, new_tokens, job["banned"]).items():
                    results[f"{number}/{case}/{name}"] = value
            del model
    except Exception as error:  # whatever transformers finds wrong with a folder is one line of the parent's
        told["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    np.savez(work / "results.npz", **results)
    (work / "told.json").write_text(json.dumps(told))


def ask(
    directory: str | os.PathLike,
    cases: dict[str, dict[str, np.ndarray]],
    runs: list[Run],
    *,
    decoded: str,
    banned: list[int],
    key_mapping: dict[str, str] | None = None,
) -> tuple[list[dict[str, dict[str, np.ndarray]]], str]:
    """(for each run: case -> name -> array, transformers' version) from a process of its own, which is gone afterwards
    with its memory. `decoded`: the case whose greedy tokens are wanted. RuntimeError says what transformers said.
    """
    with tempfile.TemporaryDirectory(prefix="verify_") as folder:
        work = Path(folder)
        job = {
            "directory": str(Path(directory).resolve()),
            "cases": list(cases),
            "runs": [dataclasses.asdict(run) for run in runs],
            "decoded": decoded,
            "banned": banned,
            "key_mapping": key_mapping,
        }
        (work / "job.json").write_text(json.dumps(job))
        flat: dict[str, Any] = {f"{case}/{name}": v for case, named in cases.items() for name, v in named.items()}
        np.savez(work / "inputs.npz", **flat)
        # The other process finds this package as this one did: it may be a checkout that is not installed.
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            [sys.executable, "-m", "spatial_jax.models.reference", folder],
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            errors="replace",
        )
        # A process that the kernel ends for its memory says nothing: its signal is all that can be told.
        if done.returncode or not (work / "told.json").is_file():
            how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
            last = (done.stderr.strip().split("\n") or [""])[-1][:300]
            raise RuntimeError(f"verify: transformers' process ended with {how} ({last or 'out of memory?'})")
        told = json.loads((work / "told.json").read_text())
        if "error" in told:
            raise RuntimeError(f"verify: transformers cannot take this folder ({told['error']})")
        out: list[dict[str, dict[str, np.ndarray]]] = [{case: {} for case in cases} for _ in runs]
        with np.load(work / "results.npz") as file:
            for name in file.files:
                number, case, key = name.split("/")
                out[int(number)][case][key] = file[name]
    return out, told["version"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))

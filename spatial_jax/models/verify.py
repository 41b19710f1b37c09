"""A checkpoint's policy against transformers' model on the same weights: logits, positions, greedy tokens, as rows of a
table.

PyTorch and transformers' models are imported here by name and only when a comparison is asked for.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import os
from typing import Any

import numpy as np

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.hf_weights import canonical_name, published_name
from spatial_jax.models.policy import load_pretrained, read_config
from spatial_jax.models.safetensors_io import Checkpoint

CLASSES = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}
# float32: a looser bound passes a wrong GELU or a wrong epsilon.
MAX_ERROR, RMS_ERROR = 2.5e-4, 2e-5
# Half precision: our rms error against float32 arithmetic on the same rounded weights, over transformers' own.
HALF_RATIO = 1.5
DECODED = "batch, left padding"
CASES: dict[str, list[list[Any]]] = {
    "text": [[24]],
    "one image": [[4, ("image", (1, 8, 12)), 8]],
    "two images": [[4, ("image", (1, 8, 12)), 3, ("image", (1, 16, 6)), 8]],
    "video": [[4, ("video", (3, 8, 8)), 8]],
    DECODED: [[6], [4, ("image", (1, 10, 10)), 5], [3, ("video", (2, 8, 4)), 2, ("image", (1, 4, 4)), 7]],
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One row of the table: errors of the logits at real tokens with the bounds they are held to, and what must be
    equal.
    """

    case: str
    tokens: int
    max_error: float
    rms_error: float
    max_bound: float
    rms_bound: float
    positions_equal: bool
    greedy_equal: bool | None  # None: not decoded, or half precision, where a near-tie may fall either way

    @property
    def passed(self) -> bool:
        """Within both bounds, positions and greedy tokens equal. An error that is not a number fails."""
        within = self.max_error <= self.max_bound and self.rms_error <= self.rms_bound
        return within and self.positions_equal and self.greedy_equal is not False


def sample_inputs(config: ModelConfig, rows: list[list[Any]], seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs in the layout of transformers' processors, padded on the left. rows: token counts and ("image" |
    "video", grid).
    """
    rng = np.random.default_rng(seed)
    highest = min(
        config.image_token_id,
        config.video_token_id,
        config.vision_start_token_id,
        config.vision_end_token_id,
        config.text.vocab_size,
    )
    sequences, grids = [], {"image": [], "video": []}  # type: ignore[var-annotated]
    for pieces in rows:
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, int):
                ids += rng.integers(2, highest, piece).tolist()
                continue
            kind, (t, h, w) = piece
            grids[kind].append((t, h, w))
            token = config.image_token_id if kind == "image" else config.video_token_id
            frames = t if kind == "video" and config.family == "qwen3_vl" else 1
            for _ in range(frames):
                run = t * h * w // config.vision.merge_unit // frames
                ids += [
                    config.vision_start_token_id,
                    *[token] * run,
                    config.vision_end_token_id,
                    *rng.integers(2, highest, 2).tolist(),
                ]
        sequences.append(ids)
    longest = max(map(len, sequences))
    tokens, mask = np.full((len(rows), longest), 1, np.int64), np.zeros((len(rows), longest), np.int64)
    for row, ids in enumerate(sequences):
        tokens[row, longest - len(ids) :], mask[row, longest - len(ids) :] = ids, 1
    out = {
        "input_ids": tokens,
        "attention_mask": mask,
        "mm_token_type_ids": (tokens == config.image_token_id) * 1 + (tokens == config.video_token_id) * 2,
    }
    for kind, values, name in (
        ("image", "pixel_values", "image_grid_thw"),
        ("video", "pixel_values_videos", "video_grid_thw"),
    ):
        if grids[kind]:
            out[name] = np.array(grids[kind], np.int64)
            out[values] = rng.standard_normal((int(out[name].prod(axis=1).sum()), config.vision.patch_dim)).astype(
                np.float32
            )
    if grids["video"] and config.family == "qwen2_5_vl":
        out["second_per_grid_ts"] = np.full(len(grids["video"]), 1.0, np.float32)
    return out


_LIBRARIES: list[Any] = []


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
    torch: Any,
    transformers: Any,
    directory: str | os.PathLike,
    config: ModelConfig,
    dtype: str,
    weights: str = "float32",
) -> Any:
    """transformers' model with the directory's tensors under their in-memory names, so that both key spellings work.

    dtype: type to compute in; weights: type that the tensors are rounded to first.
    """
    hf_config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False)
    model = getattr(transformers, CLASSES[config.family])(hf_config)
    for buffer_dtype in {parameter.dtype for parameter in model.parameters()} - {getattr(torch, dtype)}:
        for parameter in model.parameters():
            if parameter.dtype == buffer_dtype:
                parameter.data = parameter.data.to(getattr(torch, dtype))
    checkpoint, parameters = Checkpoint(directory), dict(model.named_parameters())
    with torch.no_grad():
        for name in checkpoint.names():
            target = parameters.get(published_name(canonical_name(name), "v5"))
            if target is not None:
                target.copy_(torch.from_numpy(checkpoint.read(name).astype(np.float32)).to(getattr(torch, weights)))
    model.tie_weights()
    return model.eval()


def _theirs(
    directory: str | os.PathLike,
    config: ModelConfig,
    cases: dict[str, dict[str, np.ndarray]],
    dtype: str,
    new_tokens: int,
    weights: str = "float32",
) -> dict[str, Any]:
    torch, transformers = import_torch()
    model = torch_model(torch, transformers, directory, config, dtype, weights)
    results = {}
    for name, inputs in cases.items():
        tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
        grids = {
            key: tensors[key] for key in ("image_grid_thw", "video_grid_thw", "second_per_grid_ts") if key in tensors
        }
        with torch.no_grad():
            logits = model(**tensors).logits.float().numpy()
            greedy = None
            if name == DECODED:
                greedy = model.generate(
                    **tensors,
                    max_new_tokens=new_tokens,
                    min_new_tokens=new_tokens,
                    do_sample=False,
                    eos_token_id=None,
                    pad_token_id=1,
                    suppress_tokens=_banned(config),
                    repetition_penalty=1.0,
                )
                greedy = greedy[:, inputs["input_ids"].shape[1] :].numpy()
            positions = None
            if "image_grid_thw" in grids or "video_grid_thw" in grids:
                positions = model.model.get_rope_index(
                    tensors["input_ids"],
                    mm_token_type_ids=tensors["mm_token_type_ids"],
                    attention_mask=tensors["attention_mask"],
                    **grids,
                )[0].numpy()
        results[name] = (logits, positions, greedy)
    return results


def _banned(config: ModelConfig) -> list[int]:
    return [config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id]


def verify_checkpoint(directory: str | os.PathLike, dtype: str = "float32", new_tokens: int = 8) -> list[Comparison]:
    """Comparisons of a Hugging Face directory, one a case. transformers runs first and is freed before the policy is
    loaded.

    The truth is transformers in float32; for a half-precision `dtype` on weights rounded to it, and the bound is 1.5
    times the rms error of transformers in that type. Positions follow the rule "hf5", which is what transformers 5
    computes. RuntimeError without PyTorch.
    """
    config = read_config(directory, "hf5")
    cases: dict[str, Any] = {name: sample_inputs(config, rows, seed) for seed, (name, rows) in enumerate(CASES.items())}
    truth = _theirs(directory, config, cases, "float32", new_tokens, weights=dtype)
    gc.collect()
    half = None if dtype == "float32" else _theirs(directory, config, cases, dtype, 1, weights=dtype)
    gc.collect()
    policy = load_pretrained(directory, dtype, position_rule="hf5")
    rows = []
    inputs: dict[str, Any]
    for name, inputs in cases.items():
        logits, positions, greedy = truth[name]
        mask = inputs["attention_mask"].astype(bool)
        error = (policy.logits(**inputs) - logits)[mask]
        bounds = (
            (MAX_ERROR, RMS_ERROR)
            if half is None
            else (float("inf"), HALF_RATIO * _rms((half[name][0] - logits)[mask]))
        )
        decoded = None
        if greedy is not None and half is None:
            decoded = bool(
                (policy.greedy(**inputs, max_new_tokens=new_tokens, banned_ids=_banned(config)) == greedy).all()
            )
        rows.append(
            Comparison(
                name,
                int(mask.sum()),
                float(np.abs(error).max()),
                _rms(error),
                *bounds,
                positions is None or bool((policy.positions(**inputs) == positions).all()),
                decoded,
            )
        )
    return rows


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))


def _word(equal: bool | None) -> str:
    return "-" if equal is None else "equal" if equal else "DIFFER"


def format_table(rows: list[Comparison]) -> str:
    """The comparisons as aligned text, one line a case."""
    lines = [
        f"{'case':<22}{'tokens':>7}{'max error':>12}{'rms error':>12}{'rms allowed':>13}"
        f"{'positions':>11}{'greedy':>9}{'verdict':>9}"
    ]
    for row in rows:
        lines.append(
            f"{row.case:<22}{row.tokens:>7}{row.max_error:>12.2e}{row.rms_error:>12.2e}{row.rms_bound:>13.2e}"
            f"{_word(row.positions_equal):>11}"
            f"{_word(row.greedy_equal):>9}{'ok' if row.passed else 'FAIL':>9}"
        )
    return "\n".join(lines)

"""A checkpoint's policy against the model that transformers reads from the same folder: logits, positions, greedy
tokens, as rows of a table. transformers' side is computed by models/reference.py, in a process of its own.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Any

import numpy as np

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.hf_weights import check_tensors, settle_head
from spatial_jax.models.hub import checkpoint_directory
from spatial_jax.models.policy import load_pretrained, read_config
from spatial_jax.models.reference import V4_NAMES, Run, ask
from spatial_jax.models.safetensors_io import Checkpoint

log = logging.getLogger(__name__)
RULE = "hf5"  # the position rule of transformers 5
# float32: a looser bound passes a wrong GELU or a wrong epsilon.
MAX_ERROR, RMS_ERROR = 2.5e-4, 2e-5
# Half precision: our rms error against float32 arithmetic on the same rounded weights, over transformers' own.
HALF_RATIO = 1.5
DECODED = "batch, left padding"
SECONDS = 0.7  # a time step of the videos: not whole, where the position rules differ
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
            frames = t if kind == "video" and config.traits.timed_steps else 1
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
    if grids["video"] and config.traits.seconds_in_positions:
        out["second_per_grid_ts"] = np.full(len(grids["video"]), SECONDS, np.float32)
    return out


def _banned_ids(config: ModelConfig) -> list[int]:
    return [config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id]


def _key_mapping(checkpoint: Checkpoint, config: ModelConfig) -> dict[str, str] | None:
    """What transformers needs to be told about names in the v4 spelling, where it does not read them by itself."""
    v4 = any(name.startswith(("visual.", "model.layers.")) for name in checkpoint.names())
    if config.traits.transformers_reads_v4 or not v4:
        return None
    log.warning(
        "%s: transformers does not read %s in this key spelling (v4) by itself; its names are mapped here, write"
        " --style v5 for use with transformers",
        checkpoint.directory,
        config.family,
    )
    return V4_NAMES


def verify_checkpoint(directory: str | os.PathLike, dtype: str = "float32", new_tokens: int = 8) -> list[Comparison]:
    """Comparisons of a Hugging Face directory, one a case. transformers reads the folder by its own `from_pretrained`,
    in a process that is gone before the policy is loaded.

    The truth is transformers in float32; for a half-precision `dtype` on weights rounded to it, and the bound is 1.5
    times the rms error of transformers in that type. Positions follow the rule "hf5", which is what transformers 5
    computes. RuntimeError without PyTorch, or when transformers cannot take the folder.
    """
    directory = checkpoint_directory(directory)
    checkpoint = Checkpoint(directory)
    config = settle_head(checkpoint, read_config(directory, RULE))
    check_tensors(checkpoint, config)  # what we cannot read is said before transformers is started
    cases: dict[str, Any] = {name: sample_inputs(config, rows, seed) for seed, (name, rows) in enumerate(CASES.items())}
    runs = [Run("float32", dtype, new_tokens if dtype == "float32" else 0)]
    runs += [] if dtype == "float32" else [Run(dtype, dtype, 0)]
    truth, version = ask(
        directory,
        cases,
        runs,
        decoded=DECODED,
        banned=_banned_ids(config),
        key_mapping=_key_mapping(checkpoint, config),
    )
    if not version.startswith("5."):
        raise RuntimeError(f"verify: transformers {version} has other positions than 5; pip install 'transformers>=5'")
    policy = load_pretrained(directory, dtype, position_rule=RULE)
    rows = []
    inputs: dict[str, Any]
    for name, inputs in cases.items():
        theirs, mask = truth[0][name], inputs["attention_mask"].astype(bool)
        error = (policy.logits(**inputs) - theirs["logits"])[mask]
        bounds = (MAX_ERROR, RMS_ERROR)
        if len(runs) > 1:
            bounds = (float("inf"), HALF_RATIO * _rms((truth[1][name]["logits"] - theirs["logits"])[mask]))
        decoded = None
        if "greedy" in theirs:
            ours = policy.greedy(**inputs, max_new_tokens=new_tokens, banned_ids=_banned_ids(config))
            decoded = bool((ours == theirs["greedy"]).all())
        positions = theirs.get("positions")
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

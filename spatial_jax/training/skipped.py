"""Batches whose loss or gradient was not finite: the step changed nothing, and what it saw is kept for inspection."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spatial_jax.metrics import is_primary

log = logging.getLogger(__name__)
MOST = 5  # files a run keeps at most: a run that always fails must not fill the disk


def keep_skipped(
    workdir: Path, step: int, batches: Sequence[Any], sums: Mapping[str, Any], record_ids: Sequence[str]
) -> Path | None:
    """Writes workdir/skipped/step_STEP.npz when the step was skipped: every array of its micro-batches by path
    ("0/answers/tokens"), and the record ids of its questions. Returns the file, None when nothing was to be kept.
    """
    if not float(sums.get("update_skipped", 0.0)) or not is_primary():
        return None
    folder = workdir / "skipped"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{step:06d}.npz"
    if len(list(folder.glob("*.npz"))) >= MOST:
        log.warning(
            "step %d: loss or gradient not finite, nothing was changed; %s holds %d such batches already",
            step,
            folder,
            MOST,
        )
        return None
    leaves, _ = jax.tree_util.tree_flatten_with_path(list(batches))
    arrays = {jax.tree_util.keystr(where, simple=True, separator="/"): np.asarray(leaf) for where, leaf in leaves}
    arrays["record_ids"] = np.array(list(record_ids))
    np.savez_compressed(path, allow_pickle=False, **arrays)
    log.warning("step %d: loss or gradient not finite, nothing was changed; its batch is in %s", step, path)
    return path

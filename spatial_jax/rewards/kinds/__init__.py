"""One file a reward kind; `KINDS` maps its name to it."""

from spatial_jax.rewards.base import Kind
from spatial_jax.rewards.kinds import (
    choice,
    depth,
    formats,
    iou,
    judge,
    mra,
    number,
    order,
    overlong,
    ssrl,
    user,
    vilasr,
    vsgrpo,
    word,
)

KINDS: dict[str, Kind] = {
    m.KIND.name: m.KIND
    for m in (iou, mra, depth, choice, number, order, word, ssrl, vilasr, vsgrpo, formats, judge, overlong, user)
}

__all__ = ["KINDS"]

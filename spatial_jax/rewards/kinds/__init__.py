"""One file a reward kind, or a family of released ones; `KINDS` maps a kind's name to it."""

from spatial_jax.forms import NO_FORMAT
from spatial_jax.rewards.base import Kind, Spec
from spatial_jax.rewards.kinds import (
    choice,
    depth,
    easyr1,
    exact,
    formats,
    iou,
    judge,
    mra,
    number,
    order,
    overlong,
    point,
    ssrl,
    user,
    videos,
    vilasr,
    vsgrpo,
    word,
)

_MODULES = (iou, point, mra, depth, choice, number, order, word, ssrl, vilasr, vsgrpo, formats, judge, overlong, user)
_FAMILIES = (exact.EXACT, exact.MIN_RELATIVE, easyr1.MATH, easyr1.R1V, easyr1.DAPO, videos.VIDEO_R1, videos.SPACER)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (*(m.KIND for m in _MODULES), *_FAMILIES)}


def has_own_format(spec: Spec) -> bool:
    """Whether a spec's kind defines the form of a response itself."""
    kind = KINDS.get(str(spec.get("kind")))
    return kind is not None and kind.own_format is not None


def response_format(spec: Spec) -> str:
    """The format that responses to a spec have: its kind's own, else the one that the spec names."""
    kind = KINDS.get(str(spec.get("kind")))
    if kind is not None and kind.own_format is not None:
        return kind.own_format(spec)
    return str(spec.get("format", NO_FORMAT))


__all__ = ["KINDS", "has_own_format", "response_format"]

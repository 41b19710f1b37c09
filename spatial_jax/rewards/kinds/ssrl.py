r"""Spatial-SSRL (arXiv 2510.27606): 0.9 * exact match of the last \boxed{} + 0.1 * (a think block, then a boxed
answer).
"""

from __future__ import annotations

import re

from spatial_jax.blocks import has_content, strip_end_marks
from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec
from spatial_jax.rewards.released import last_box, thinks_then_boxes, tighten

_TEXT = re.compile(r"\\text\s?\{([^{}]*)\}")


def _format(response: str, released: bool) -> bool:
    """Think block, then later a boxed answer; anything may follow. The released predicate also accepts empty blocks and
    stray tags; ours asks for one think block at the start and content in both, because an empty block was what a policy
    learned to write.
    """
    if released or not thinks_then_boxes(response):
        return thinks_then_boxes(response)
    close = response.find("</think>")
    answer = last_box(response[close:])
    return (
        response.count("<think>") == response.count("</think>") == 1
        and has_content(response[len("<think>") : close])
        and answer is not None
        and has_content(answer)
    )


def _robust(text: str) -> str:
    """Stripped, without \\text{}, without spaces around hyphens, upper case."""
    return "-".join(part.strip() for part in _TEXT.sub(r"\1", text).split("-")).upper()


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """Exact string equality of the last box's stripped content (case counts; the truth is not stripped) unless
    `robust`. A last box that is not closed is no answer. `released` keeps the published format predicate.
    """
    text = tighten(strip_end_marks(response).strip())
    form = float(_format(text, bool(spec["released"])))
    answer, truth = last_box(text), str(record["answer"])
    if answer is None or not has_content(answer):
        right = 0.0
    elif spec["robust"]:
        right = float(_robust(answer) == _robust(truth))
    else:
        right = float(answer == truth)
    return Score(0.9 * right + 0.1 * form, right, form)


def _check(record: Record, spec: Spec) -> None:
    if not has_content(str(record["answer"])):
        raise ValueError("the answer is empty")


KIND = Kind("ssrl", {"robust": False, "released": False}, score, _check, own_format=lambda spec: "think_boxed")

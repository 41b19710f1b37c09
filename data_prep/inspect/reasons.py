"""Why a question was asked, and why the other kinds are not asked of a picture: margins, deviations and tolerances in
words.
"""

from __future__ import annotations

import collections
import functools
import random
from typing import Any

from data_prep.synthesis.families import FAMILIES
from data_prep.synthesis.options import Options
from data_prep.synthesis.refusals import Refusals
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import QuestionRecord, SceneRecord
from spatial_jax.pages import Child, Html, plus_minus, short, table, tag

# What a margin counts in: the setting that it is a multiple of, by family, or by family and form.
MARGIN_OF = {
    "bearing": "bearing_margin",
    "relation": "gap_of_extent and gap_of_side",
    "depth_order2": "depth_ratio",
    "depth_order": "depth_ratio",
    "abs_depth": "max_depth_spread",
    "distance/closest_to": "distance_ratio",
    "distance": "most_tolerance",
    "size/taller": "size_ratio",
    "size/shorter": "size_ratio",
    "size": "min_visible",
    "direction": "angle_margin",
}
PARTS = {"scale": "the picture's scale", "shift": "its shift, camera and gravity", "own": "the objects' own"}
VERDICTS = ("metres", "orders only", "picture plane only", "nothing asked")
METRIC = ("abs_depth", "distance", "size", "direction")
FROM_DEPTH = (*METRIC, "depth_order2", "depth_order", "multihop")
ANSWERED = ("number", "number within a tolerance", "vague: compared, range or ratio", "choice or order")


def verdict_of(q: QuestionRecord, meta: dict[str, Any]) -> str:
    """How exactly a question could be asked: one of ANSWERED."""
    if meta.get("form") in ("against", "range", "ratio") and q.family in METRIC:
        return ANSWERED[2]
    if q.question_type == "number":
        return ANSWERED[1] if meta.get("tolerance") else ANSWERED[0]
    return ANSWERED[3]


def why_asked(q: QuestionRecord, meta: dict[str, Any]) -> list[str]:
    """Lines that say which margin the answer cleared, by how much, and how exactly it is wanted."""
    lines = []
    margin = meta.get("margin")
    setting = MARGIN_OF.get(f"{q.family}/{meta.get('form')}") or MARGIN_OF.get(q.family)
    if isinstance(margin, (int, float)) and setting and margin > 0:
        named = " and ".join(f"margins.{name}" for name in setting.split(" and "))
        lines.append(f"It clears {named} {short(float(margin))} times.")
    sd, tolerance = meta.get("uncertainty"), meta.get("tolerance")
    if isinstance(sd, (int, float)) and sd > 0:
        parts = meta.get("uncertainty_parts")
        of = [
            f"{PARTS[k]} {plus_minus(float(v))}"
            for k, v in (parts.items() if isinstance(parts, dict) else ())
            if k in PARTS and isinstance(v, (int, float)) and v > 0.01 * sd
        ]
        unit = f" {q.unit}" if q.unit else ""
        lines.append(f"The answer is known to {plus_minus(float(sd))}{unit}" + (f": {', '.join(of)}." if of else "."))
    if isinstance(tolerance, (int, float)) and q.question_type == "number":
        said = f"so it is asked within {100 * tolerance:.0f} %." if tolerance else "so no tolerance is said."
        lines.append(f"Two deviations fit into margins.most_tolerance, {said}")
    form = meta.get("form")
    if form in ("against", "range", "ratio") and q.family in METRIC:
        lines.append("Too vague for a number: it is compared with a length, put into a range or asked as a ratio.")
    return lines


@functools.lru_cache(maxsize=1)
def _families() -> tuple[Any, ...]:
    return tuple(FAMILIES.values())


class Askable:
    """What the families make of one scene under the usual margins: `asked` counts by family, `refused` as
    `Refusals.report` has it, `unusable` objects by reason.
    """

    def __init__(self, scene: SceneRecord):
        options, refused = Options(), Refusals()
        view = SceneView(scene, options, refused)
        self.unusable = dict(view.reasons)
        self.asked: collections.Counter[str] = collections.Counter()
        self.needs: dict[str, str] = {}
        for family in _families():
            refused.family = family.name
            self.asked[family.name] = sum(1 for _ in family.generate(view, random.Random(0), options))
            self.needs[family.name] = family.needs
        self.refused = refused.report()

    @property
    def families(self) -> list[str]:
        """Names of the families that ask something."""
        return sorted(name for name, count in self.asked.items() if count)

    @property
    def verdict(self) -> str:
        """What this picture's geometry is good for."""
        if any(self.asked[name] for name in METRIC):
            return VERDICTS[0]
        if self.asked["depth_order2"] or self.asked["depth_order"]:
            return VERDICTS[1]
        return VERDICTS[2] if self.families else VERDICTS[3]

    def table(self) -> Html:
        """One row a family: how much of it can be asked, and what refuses the rest."""
        rows: list[list[Child]] = []
        for name, count in sorted(self.asked.items(), key=lambda entry: (-entry[1], entry[0])):
            reasons = [
                f"{row['count']:.0f} by margins.{margin}={short(row['limit'])}"
                + (f", half pass at {short(row['half'])}" if "half" in row else "")
                for margin, row in self.refused.get(name, {}).items()
            ]
            if not count and not reasons:
                reasons = [f"needs {self.needs[name]}"]
            rows.append([name, f"{count:,}" if count else "–", tag("small", "; ".join(reasons))])
        left = [tag("li", f"{count} x {reason}") for reason, count in sorted(self.unusable.items()) if count]
        return tag(
            "div",
            table(["family", "can be asked", "what refuses the rest"], rows, numeric=(1,)),
            tag("ul", left) if left else None,
        )

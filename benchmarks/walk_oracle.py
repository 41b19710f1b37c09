"""Answers about a rendered walk, found again without the question generator: from the bodies that were drawn, in closed
form, and from the numbers of the pixels that show them.
"""

from __future__ import annotations

import cmath
import itertools
import math
import re

import numpy as np

from data_prep.sources.layout import Body
from data_prep.sources.primitives import Primitive
from data_prep.sources.walks.source import Walk
from data_prep.synthesis.vsi.questions import WORDINGS
from spatial_jax.data import QuestionRecord

BODY = 0.15  # metres that a walker needs to each side of a leg
NEAREST = 0.01  # metres: how well the generator tells nearest points


def _box_corners(part: Primitive, body: Body) -> np.ndarray:
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    flat = np.array(part.center[:2]) + signs * np.array(part.half[:2])
    return flat @ body.turn[:2, :2].T + body.position[:2]


def _to_segment(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    along = b - a
    share = np.clip((points - a) @ along / max(1e-12, float(along @ along)), 0, 1)
    return float(np.linalg.norm(points - a - share[:, None] * along, axis=1).min())


def _apart_flat(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two convex polygons [n, 2], 0 where they overlap."""
    parted = False
    for polygon in (a, b):
        for p, q in zip(polygon, np.roll(polygon, -1, 0)):
            normal = np.array([q[1] - p[1], p[0] - q[0]])
            x, y = a @ normal, b @ normal
            parted |= bool(x.max() < y.min() or y.max() < x.min())
    if not parted:
        return 0.0
    to_b = min(_to_segment(a, p, q) for p, q in zip(b, np.roll(b, -1, 0)))
    return min(to_b, min(_to_segment(b, p, q) for p, q in zip(a, np.roll(a, -1, 0))))


def _levels(part: Primitive, body: Body) -> tuple[float, float]:
    middle = part.center[2] + float(body.position[2])
    return middle - part.half[2], middle + part.half[2]


def _project(part: Primitive, point: np.ndarray) -> np.ndarray:
    """The place of a solid that is nearest to a point, both in its body's frame."""
    p, half = point - np.array(part.center), np.array(part.half)
    if part.kind == "box":
        q = np.clip(p, -half, half)
    elif part.kind == "ellipsoid":
        q = _on_ellipsoid(p, half)
    else:
        q = _on_frustum(p, part)
    return q + np.array(part.center)


def _on_ellipsoid(p: np.ndarray, half: np.ndarray) -> np.ndarray:
    if ((p / half) ** 2).sum() <= 1:
        return p
    low, high = 0.0, float(np.linalg.norm(p) * half.max()) + 1.0
    for _ in range(80):
        t = (low + high) / 2
        low, high = (t, high) if ((half * p / (t + half**2)) ** 2).sum() > 1 else (low, t)
    return half**2 * p / (low + half**2)


def _on_frustum(p: np.ndarray, part: Primitive) -> np.ndarray:
    axis, length = part.axis, part.half[part.axis]
    across = [k for k in range(3) if k != axis]
    r, z = math.hypot(*p[across]), float(p[axis])
    inside = abs(z) <= length and r <= (part.low + part.high) / 2 + (part.high - part.low) / 2 * z / length
    if inside:
        return p
    outline = [np.array(v) for v in ((0.0, -length), (part.low, -length), (part.high, length), (0.0, length))]
    best = min((_nearest_on(np.array([r, z]), a, b) for a, b in itertools.pairwise(outline)), key=lambda f: f[0])[1]
    out = p.copy()
    out[axis] = best[1]
    out[across] = p[across] * (best[0] / r) if r > 1e-12 else (best[0], 0.0)
    return out


def _nearest_on(p: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    along = b - a
    share = min(1.0, max(0.0, float((p - a) @ along) / max(1e-12, float(along @ along))))
    q = a + share * along
    return float(np.linalg.norm(p - q)), q


def _solids_apart(p: Primitive, a: Body, q: Primitive, b: Body) -> float:
    """Distance of two solids: of boxes from their outlines and levels, else by projecting to and fro."""
    if p.kind == q.kind == "box":
        (low, high), (bottom, top) = _levels(p, a), _levels(q, b)
        return math.hypot(_apart_flat(_box_corners(p, a), _box_corners(q, b)), max(0.0, bottom - high, low - top))
    x = a.turn @ np.array(p.center) + a.position
    last = math.inf
    for _ in range(400):
        y = b.turn @ _project(q, b.turn.T @ (x - b.position)) + b.position
        x = a.turn @ _project(p, a.turn.T @ (y - a.position)) + a.position
        now = float(np.linalg.norm(x - y))
        if last - now < 1e-7:
            break
        last = now
    return now


def nearest(a: Body, b: Body) -> float:
    """Distance of the nearest points of two bodies, metres."""
    pairs = []
    for p in a.solids:
        for q in b.solids:
            middle = np.linalg.norm(a.turn @ np.array(p.center) + a.position - b.turn @ np.array(q.center) - b.position)
            reach = float(np.linalg.norm(p.half) + np.linalg.norm(q.half))
            pairs.append((float(middle) - reach, p, q))
    best = math.inf
    for least, p, q in sorted(pairs, key=lambda pair: pair[0]):
        if least >= best:
            break
        best = min(best, _solids_apart(p, a, q, b))
    return best


class Oracle:
    """What is true of one walk. `frames`: numbers of those that the questions show."""

    def __init__(self, walk: Walk, frames: list[int]):
        self.walk, self.bodies = walk, walk.home.bodies
        self.owner = walk.frames.owner[frames]
        self.of: dict[str, list[int]] = {}
        for index in walk.home.instances:
            self.of.setdefault(self.bodies[index].kind, []).append(index)
        self.pixels = np.stack([np.bincount(o[o >= 0], minlength=len(self.bodies)) for o in self.owner])
        self._apart: dict[tuple[int, int], float] = {}

    def one(self, name: str) -> Body:
        """The only instance of a category. AssertionError where there are several."""
        (index,) = self.of[name]
        return self.bodies[index]

    def shows_clearly(self, name: str) -> bool:
        """Whether each instance has two thousandths of some frame's pixels."""
        least = 0.002 * self.owner[0].size
        return all(int(self.pixels[:, i].max()) >= least for i in self.of[name])

    @staticmethod
    def middle(body: Body) -> np.ndarray:
        """Centre of the box around a body, world."""
        return body.turn @ ((body.low + body.high) / 2) + body.position

    def apart(self, a: str, b: str, centres: bool) -> float:
        """Distance of two categories: of single things' centres, or of the nearest points of any two instances."""
        if centres:
            return float(np.linalg.norm(self.middle(self.one(a)) - self.middle(self.one(b))))
        found = []
        for i in self.of[a]:
            for j in self.of[b]:
                key = min(i, j), max(i, j)
                if key not in self._apart:
                    self._apart[key] = nearest(self.bodies[key[0]], self.bodies[key[1]])
                found.append(self._apart[key])
        return min(found)

    def bearing(self, stand: complex, face: complex, target: complex) -> float:
        """Degrees from the facing direction to a target, left positive."""
        return math.degrees(cmath.phase((target - stand) / (face - stand)))

    def at(self, name: str) -> complex:
        """Where a single thing is, seen from above."""
        return complex(*self.middle(self.one(name))[:2])

    def first_seen(self, name: str) -> int:
        """The first frame with a pixel of a category."""
        return int(np.flatnonzero(self.pixels[:, self.of[name]].sum(1))[0])

    def can_stand(self, x: float, y: float, but: list[int]) -> bool:
        """Whether a walker fits there: in a room or a doorway, in nothing that reaches from the floor but `but`."""
        plan = self.walk.home.plan
        inside = any(a.low[0] <= x <= a.high[0] and a.low[1] <= y <= a.high[1] for a in plan.rooms)
        for o in plan.openings:
            if o.kind == "doorway":
                faces = plan.rooms[o.room].face(o.side), plan.rooms[o.other].face((o.side[0], -o.side[1]))
                across, along = (x, y) if o.side[0] == 0 else (y, x)
                fits = o.span[0] + BODY <= along <= o.span[1] - BODY
                inside |= min(faces) - 0.01 <= across <= max(faces) + 0.01 and fits
        return inside and not any(self.covers(i, x, y, BODY) for i in self.walk.home.instances if i not in but)

    def covers(self, index: int, x: float, y: float, margin: float) -> bool:
        """Whether a thing that one cannot walk over or under is there."""
        body = self.bodies[index]
        if body.position[2] >= 1.1 or body.position[2] + body.high[2] <= 0.05:
            return False
        away = body.turn.T @ (np.array([x, y, 0.0]) - body.position)
        return bool((np.abs(away[:2]) <= body.high[:2] + margin).all())


def _names(question: QuestionRecord, topic: str) -> dict[str, str]:
    """What stands at the marks of the question's wording."""
    pattern = re.escape(WORDINGS[topic][question.template_id])
    seen: set[str] = set()

    def mark(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>.+?)"

    found = re.match(re.sub(r"\\\{(\w+)\\\}", mark, pattern) + r"(\n|$)", question.question)
    assert found, question.question
    return found.groupdict()


def _answer_words(question: QuestionRecord) -> str:
    """The answer in words, whatever its form."""
    return question.options["ABCD".index(question.answer)] if question.question_type == "mcq" else question.answer


def agrees(question: QuestionRecord, topic: str, oracle: Oracle, centres: bool) -> bool:
    """Whether the question's answer is the oracle's, and what it asks about is clearly shown."""
    names, said = _names(question, topic), _answer_words(question)
    asked = [names[k] for k in ("a", "b", "t", "s", "f") if names.get(k) in oracle.of]
    if topic != "obj_appearance_order" and not all(oracle.shows_clearly(name) for name in asked):
        return False
    if topic == "object_counting":
        return int(said) == len(oracle.of[names["a"]])
    if topic == "object_size_estimation":
        body = oracle.one(names["a"])
        return abs(float(said) - 100 * float((body.high - body.low).max())) <= 0.51
    if topic == "room_size_estimation":
        corners = [a.polygon for a in oracle.walk.home.plan.rooms]
        area = sum(abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(c, np.roll(c, -1, 0)))) / 2 for c in corners)
        return abs(float(said) - area) <= 0.0501
    if topic == "object_abs_distance":
        away = abs(float(said) - oracle.apart(names["a"], names["b"], centres))
        return away <= 0.0501 + (0 if centres else NEAREST)
    if topic == "object_rel_distance":
        ranked = sorted((oracle.apart(name, names["t"], centres), name) for name in names["list"].split(", "))
        return ranked[0][1] == said and ranked[1][0] > ranked[0][0] + 0.1
    if topic == "object_rel_direction":
        return said in _directions(oracle.bearing(*(oracle.at(names[k]) for k in ("s", "f", "t"))), question.options)
    if topic == "obj_appearance_order":
        frames = [oracle.first_seen(name) for name in said.split(", ")]
        return sorted(names["list"].split(", ")) == sorted(said.split(", ")) and frames == sorted(set(frames))
    return _route_agrees(names, said.split(", "), oracle)


def _directions(angle: float, options: tuple[str, ...]) -> set[str]:
    """What an angle is called, among these options."""
    sideways = "left" if angle > 0 else "right"
    if "back" in options:
        return {"back" if abs(angle) > 135 else sideways}
    return {sideways if "left" in options else ("front-" if abs(angle) < 90 else "back-") + sideways}


def _route_agrees(names: dict[str, str], turns: list[str], oracle: Oracle) -> bool:
    """Walks the route: each turn must be the one to the next thing, each leg free."""
    stops = re.findall(r"until the (.+?)\.", names["steps"])
    gaps = names["steps"].count("[?]")
    if gaps != len(turns) or stops[-1] != names["t"]:
        return False
    here = oracle.at(names["s"])
    heading, left = oracle.at(names["f"]) - here, list(turns)
    at_once = names["steps"].startswith("(1) [?]")
    legs = [names["s"], *stops]
    for number, goal in enumerate(stops):
        target = oracle.at(goal)
        if number > 0 or at_once:
            angle = oracle.bearing(here, here + heading, target)
            turn = left.pop(0)
            # Half a degree below what is asked for at least: records store places rounded.
            if turn == "turn back" and abs(angle) < 154.5:
                return False
            if turn != "turn back" and not 39.5 <= (angle if turn == "turn left" else -angle) <= 140.5:
                return False
        ends = [i for name in (legs[number], goal) for i in _at_end(oracle, name)]
        steps = max(2, int(abs(target - here) / 0.02))
        way = [here + (target - here) * k / steps for k in range(steps + 1)]
        if not all(oracle.can_stand(p.real, p.imag, ends) for p in way):
            return False
        heading, here = target - here, target
    return True


def _at_end(oracle: Oracle, name: str) -> list[int]:
    """What covers the place of a thing: itself, and what it stands on or under."""
    place = oracle.at(name)
    return [i for i in oracle.walk.home.instances if oracle.covers(i, place.real, place.imag, 0.0)]

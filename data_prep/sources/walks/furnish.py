"""Furniture for the rooms of a plan: along walls, in corners, around tables, on top of each other and on the walls;
nothing overlaps, doors stay free, tall things do not hide windows.
"""

from __future__ import annotations

import math

import numpy as np

from data_prep.sources.catalogue import COLOURS, center_solids
from data_prep.sources.layout import Body
from data_prep.sources.primitives import Primitive, bounds, box, frustum
from data_prep.sources.walks.plan import SIDES, THICK, Opening, Plan, slab, walls_of
from data_prep.sources.walks.shapes import KINDS, ROOMS, Kind

CLOTH = ("red", "green", "blue", "yellow", "purple", "orange", "pink", "turquoise", "white", "black", "brown")
WOODS = {"brown": (122, 82, 52), "beige": (190, 154, 112), "white": (224, 220, 212), "black": (52, 46, 44)}
POTS = {"white": (226, 222, 214), "red": (168, 78, 52), "black": (58, 58, 62), "blue": (72, 96, 140)}
YAW = {(1, 1): 0.0, (1, -1): math.pi, (0, 1): -math.pi / 2, (0, -1): math.pi / 2}  # back towards that side
AISLE = 0.45  # metres that stay free around what stands in the middle
FREE = 1.0  # metres before a door
DOOR, DOOR_TOP = 2.03, 2.1  # metres, of a leaf and of its casing
TRIES = 50  # places that a thing is tried at
Rect = tuple[float, float, float, float]
Spot = tuple[tuple[float, float, float], float]  # place and yaw


def rectangle_of(body: Body, margin: float = 0.0) -> Rect:
    """(x1, y1, x2, y2) around a body's footprint."""
    corners = body.corners[:, :2]
    (a, b), (c, d) = corners.min(0), corners.max(0)
    return float(a) - margin, float(b) - margin, float(c) + margin, float(d) + margin


def _meet(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def furnish(plan: Plan, rng: np.random.Generator) -> list[Body]:
    """Walls, doors, windows and furniture; instances are the bodies with `is_object`. Every body's `size` is the
    number of its room (-1: of none).
    """
    bodies = [walls_of(plan, room) for room in range(len(plan.rooms))]
    blocked: list[list[Rect]] = [[] for _ in plan.rooms]
    for opening in plan.openings:
        bodies += _fit_opening(plan, opening, blocked, rng)
    for room, area in enumerate(plan.rooms):
        furnisher = _Furnisher(plan, room, blocked[room], rng)
        for name, least, most in ROOMS[area.use]:
            for _ in range(int(rng.integers(least, most + 1))):
                furnisher.add(name)
        bodies += furnisher.bodies
    return bodies


def _body(
    kind: str, colour: str, rgb: tuple, texture: str, solids: list[Primitive], place: tuple, yaw: float, room: int
) -> Body:
    return Body(kind, colour, rgb, texture, solids, np.array(place, float), yaw, float(room))


def _fit_opening(plan: Plan, o: Opening, blocked: list[list[Rect]], rng: np.random.Generator) -> list[Body]:
    """Leaf and casing of a door, or a window; what must stay free before them goes to `blocked`."""
    axis, sign = o.side
    face = plan.rooms[o.room].face(o.side)
    width = o.span[1] - o.span[0]
    if o.kind == "window":
        return [_window(o, face, width)]
    for room, inward in ((o.room, -sign), *(((o.other, sign),) if o.other >= 0 else ())):
        near = plan.rooms[room].face((axis, -inward))
        blocked[room].append(_ordered(axis, near, near + inward * FREE, o.span[0] - 0.12, o.span[1] + 0.12))
    colour = "white" if rng.random() < 0.6 else "brown"
    rgb = WOODS[colour]
    if o.kind == "entrance":
        solids = [
            box((0, 0, DOOR / 2), (width, 0.03, DOOR)),
            *[
                box((x * (width + 0.07) / 2, -0.005, DOOR / 2 + 0.03), (0.07, 0.05, DOOR + 0.06), "white")
                for x in (-1, 1)
            ],
            box((0, -0.005, DOOR + 0.03), (width, 0.05, 0.06), "white"),
            *[box((0, -0.018, z), (width * 0.62, 0.012, 0.75), "dark") for z in (0.55, 1.45)],
            frustum((width * 0.4, -0.05, 1.02), 0.08, 0.022, 0.022, axis=1, tone="metal"),
        ]
        spot = [0.0, 0.0, 0.0]
        spot[axis], spot[1 - axis] = face - sign * 0.02, o.middle
        return [_body("door", colour, rgb, "wood", center_solids(solids), tuple(spot), YAW[o.side], o.room)]
    leaf = _leaf(plan, o, blocked, colour, rng)
    return [_casing(plan, o, face), *([leaf] if leaf else [])]


def _ordered(axis: int, a: float, b: float, low: float, high: float) -> Rect:
    a, b = min(a, b), max(a, b)
    return (a, low, b, high) if axis == 0 else (low, a, high, b)


def _window(o: Opening, face: float, width: float) -> Body:
    height = o.levels[1] - o.levels[0]
    bar = 0.06
    solids = [
        box((0, 0, height / 2), (width, 0.02, height), "sky"),
        *[box((x * (width - bar) / 2, -0.02, height / 2), (bar, 0.05, height), "white") for x in (-1, 0, 1)],
        *[box((0, -0.02, z), (width, 0.05, bar), "white") for z in (bar / 2, height - bar / 2)],
        box((0, -0.06, -0.015), (width + 0.1, 0.14, 0.03), "white"),
    ]
    spot = [0.0, 0.0, o.levels[0] - 0.03]
    solids = center_solids(solids)
    deep = float(bounds(solids)[1][1])  # its back lies on the wall
    spot[o.side[0]], spot[1 - o.side[0]] = face - o.side[1] * deep, o.middle
    return _body("window", "white", (235, 235, 235), "plain", solids, tuple(spot), YAW[o.side], o.room)


def _casing(plan: Plan, o: Opening, face: float) -> Body:
    """The frame of a doorway, in world coordinates."""
    _, sign = o.side
    across = (face - sign * 0.02, face + sign * (THICK + 0.02))
    solids = [
        slab(o.side, across, (o.span[0] - 0.05, o.span[0] + 0.02), (0, DOOR_TOP)),
        slab(o.side, across, (o.span[1] - 0.02, o.span[1] + 0.05), (0, DOOR_TOP)),
        slab(o.side, across, (o.span[0] - 0.05, o.span[1] + 0.05), (DOOR, DOOR_TOP)),
    ]
    solids = [Primitive(s.kind, s.center, s.half, tone="white") for s in solids]
    return Body("casing", "", (235, 235, 232), "plain", solids, np.zeros(3), 0.0, -1.0, is_object=False)


def _leaf(plan: Plan, o: Opening, blocked: list[list[Rect]], colour: str, rng: np.random.Generator) -> Body | None:
    """The open leaf of a doorway, swung back along its wall; None where the wall has no room for it."""
    axis, sign = o.side
    width = o.span[1] - o.span[0] - 0.04
    solids = center_solids(
        [
            box((0, 0, DOOR / 2), (width, 0.04, DOOR - 0.02)),
            *[box((0, y * 0.02, z), (width * 0.62, 0.012, 0.75), "dark") for y in (-1, 1) for z in (0.55, 1.45)],
            *[frustum((width * 0.42, y * 0.04, 1.02), 0.05, 0.02, 0.02, axis=1, tone="metal") for y in (-1, 1)],
        ]
    )
    for pick in rng.permutation(4).tolist():
        room, edge, away = (o.room, o.other)[pick % 2], o.span[pick // 2], (-1, 1)[pick // 2]
        inward = -sign if room == o.room else sign
        area = plan.rooms[room]
        near = area.face((axis, -inward))
        span = sorted((edge + away * 0.06, edge + away * (0.06 + width)))
        rect = _ordered(axis, near, near + inward * 0.2, span[0], span[1])
        inside = span[0] > area.low[1 - axis] + 0.05 and span[1] < area.high[1 - axis] - 0.05
        walls = [at for kind, side, at in plan.of_room(room) if side == (axis, -inward) and at != o.span]
        if not inside or any(low < span[1] and span[0] < high for low, high in walls):
            continue
        spot = [0.0, 0.0, 0.0]
        spot[axis], spot[1 - axis] = near + inward * 0.09, (span[0] + span[1]) / 2
        blocked[room].append(rect)
        return _body("door", colour, WOODS[colour], "wood", solids, tuple(spot), YAW[(axis, -inward)], room)
    return None


class _Furnisher:
    """Puts things into one room; what finds no place is left out."""

    def __init__(self, plan: Plan, room: int, blocked: list[Rect], rng: np.random.Generator):
        self.plan, self.room, self.area, self.rng = plan, room, plan.rooms[room], rng
        self.doors = blocked
        self.taken: list[Rect] = []
        self.bodies: list[Body] = []
        self.on_walls: list[tuple[tuple[int, int], float, float, float]] = [  # side, span, lower edge
            (side, span[0] - 0.1, span[1] + 0.1, 0.85 if kind == "window" else 0.0)
            for kind, side, span in plan.of_room(room)
        ]
        self.looks: dict[str, tuple[str, tuple[int, int, int], int]] = {}

    def add(self, name: str) -> None:
        kind = KINDS[name]
        # Chairs of one room are alike, as in most rooms.
        if name not in self.looks or name not in ("chair", "stool", "nightstand", "office chair"):
            self.looks[name] = (*self._colour(kind), int(self.rng.integers(1 << 30)))
        colour, rgb, seed = self.looks[name]
        solids = center_solids(kind.build(np.random.default_rng(seed)))
        for _ in range(TRIES):
            spot = getattr(self, f"_{kind.place}")(kind, name, solids)
            if spot is None:
                continue
            (x, y, z), yaw = spot
            self.bodies.append(_body(name, colour, rgb, kind.texture, solids, (x, y, z), yaw, self.room))
            if kind.place not in ("on", "hung", "flat"):
                self.taken.append(rectangle_of(self.bodies[-1], 0.04))
            return

    def _colour(self, kind: Kind) -> tuple[str, tuple[int, int, int]]:
        if kind.colours == "plain":
            return "white", (232, 230, 224)
        table = {"wood": WOODS, "pot": POTS}.get(kind.colours)
        if table is None:
            name = str(self.rng.choice(CLOTH))
            r, g, b = COLOURS[name]
            return name, (r * 7 // 10 + 40, g * 7 // 10 + 40, b * 7 // 10 + 40)  # cloth is duller than paint
        name = str(self.rng.choice(list(table)))
        return name, table[name]

    def _free(self, rect: Rect) -> bool:
        (a, b), (c, d) = self.area.low, self.area.high
        inside = rect[0] > a and rect[1] > b and rect[2] < c and rect[3] < d
        return inside and not any(_meet(rect, r) for r in (*self.taken, *self.doors))

    def _rect(self, solids: list[Primitive], x: float, y: float, yaw: float, margin: float = 0.0) -> Rect:
        return rectangle_of(_body("", "", (0, 0, 0), "", solids, (x, y, 0), yaw, 0), margin)

    def _against(self, side: tuple[int, int], along: float, depth: float) -> tuple[float, float]:
        axis, sign = side
        spot = [0.0, 0.0]
        spot[axis], spot[1 - axis] = self.area.face(side) - sign * depth, along
        return spot[0], spot[1]

    def _wall(self, kind: Kind, name: str, solids: list[Primitive]) -> Spot | None:
        side = SIDES[self.rng.integers(4)]
        _, high = bounds(solids)
        low_edge, high_edge = self.area.low[1 - side[0]] + high[0] + 0.03, self.area.high[1 - side[0]] - high[0] - 0.03
        if high_edge <= low_edge:
            return None
        along = float(self.rng.uniform(low_edge, high_edge))
        if name == "nightstand" and (bed := next((b for b in self.bodies if b.kind == "bed"), None)) is not None:
            side = next(s for s, yaw in YAW.items() if abs(yaw - bed.yaw) < 1e-6)
            reach = float(bed.high[0] + high[0]) + 0.06
            along = float(bed.position[1 - side[0]]) + float(self.rng.choice((-1, 1))) * reach
        x, y = self._against(side, along, float(high[1]) + 0.03)
        taller = [h for s, a, b, h in self.on_walls if s == side and a < along + high[0] and along - high[0] < b]
        if any(high[2] > edge for edge in taller) or not self._free(self._rect(solids, x, y, YAW[side], 0.02)):
            return None
        if high[2] > 1.2:
            self.on_walls.append((side, along - float(high[0]), along + float(high[0]), 0.0))
        return (x, y, 0.0), YAW[side]

    def _corner(self, kind: Kind, name: str, solids: list[Primitive]) -> Spot | None:
        (a, b), (c, d) = self.area.low, self.area.high
        _, high = bounds(solids)
        reach = float(np.hypot(high[0], high[1])) + 0.05
        x = (
            a + reach + self.rng.exponential(0.15)
            if self.rng.random() < 0.5
            else c - reach - self.rng.exponential(0.15)
        )
        y = b + reach + self.rng.exponential(0.3) if self.rng.random() < 0.5 else d - reach - self.rng.exponential(0.3)
        inward = math.atan2((b + d) / 2 - y, (a + c) / 2 - x)  # its front looks into the room
        yaw = inward + math.pi / 2
        return ((x, y, 0.0), yaw) if self._free(self._rect(solids, x, y, yaw, 0.02)) else None

    def _middle(self, kind: Kind, name: str, solids: list[Primitive]) -> Spot | None:
        (a, b), (c, d) = self.area.low, self.area.high
        _, high = bounds(solids)
        partner = {"chair": "table", "office chair": "desk", "stool": "table"}.get(name)
        near = [body for body in self.bodies if body.kind == partner]
        if near:
            return self._beside(near[int(self.rng.integers(len(near)))], solids)
        yaw = float(self.rng.choice((0.0, math.pi / 2))) + float(self.rng.normal(0, 0.03))
        reach = max(float(high[0]), float(high[1]))
        x = float(self.rng.uniform(a + reach + 0.1, max(a + reach + 0.11, c - reach - 0.1)))
        y = float(self.rng.uniform(b + reach + 0.1, max(b + reach + 0.11, d - reach - 0.1)))
        free = self._free(self._rect(solids, x, y, yaw, 0.02)) and not any(
            _meet(self._rect(solids, x, y, yaw, AISLE), r) for r in self.taken
        )
        return ((x, y, 0.0), yaw) if free else None

    def _beside(self, partner: Body, solids: list[Primitive]) -> Spot | None:
        """A chair at a table's side, at a desk's front, facing it."""
        _, high = bounds(solids)
        desk = partner.kind == "desk"
        k = 0 if desk else int(self.rng.integers(4))
        turn = partner.yaw + k * math.pi / 2
        wide, deep = (partner.high[0], partner.high[1]) if k % 2 == 0 else (partner.high[1], partner.high[0])
        slide = float(self.rng.uniform(-1, 1)) * max(0.0, float(wide) - float(high[0]) - 0.05)
        out = float(deep) + float(high[1]) + float(self.rng.uniform(0.05, 0.18))
        local = np.array([slide, -out])
        c, s = math.cos(turn), math.sin(turn)
        x = float(partner.position[0]) + c * local[0] - s * local[1]
        y = float(partner.position[1]) + s * local[0] + c * local[1]
        yaw = turn + math.pi + float(self.rng.normal(0, 0.08))  # the chair's front looks at the table
        return ((x, y, 0.0), yaw) if self._free(self._rect(solids, x, y, yaw, 0.02)) else None

    def _on(self, kind: Kind, name: str, solids: list[Primitive]) -> Spot | None:
        tops = [b for b in self.bodies if b.kind in kind.under and not any(_stands_on(o, b) for o in self.bodies)]
        if not tops:
            return None
        top = tops[int(self.rng.integers(len(tops)))]
        _, high = bounds(solids)
        if high[0] > top.high[0] or high[1] > top.high[1]:
            return None
        c, s = math.cos(top.yaw), math.sin(top.yaw)
        back = float(top.high[1] - high[1]) * 0.4
        spot = top.position + np.array([-s * back, c * back, float(top.high[2])])
        return (float(spot[0]), float(spot[1]), float(spot[2])), top.yaw

    def _flat(self, kind: Kind, name: str, solids: list[Primitive]) -> Spot | None:
        (a, b), (c, d) = self.area.low, self.area.high
        _, high = bounds(solids)
        yaw = float(self.rng.choice((0.0, math.pi / 2)))
        w, h = (high[0], high[1]) if yaw == 0 else (high[1], high[0])
        if c - a < 2 * w + 0.2 or d - b < 2 * h + 0.2:
            return None
        x, y = (
            (a + c) / 2 + self.rng.uniform(-1, 1) * ((c - a) / 2 - w - 0.1),
            (b + d) / 2 + self.rng.uniform(-1, 1) * ((d - b) / 2 - h - 0.1),
        )
        return (float(x), float(y), 0.0), yaw

    def _hung(self, kind: Kind, name: str, solids: list[Primitive]) -> Spot | None:
        side = SIDES[self.rng.integers(4)]
        _, high = bounds(solids)
        low_edge, high_edge = self.area.low[1 - side[0]] + high[0] + 0.1, self.area.high[1 - side[0]] - high[0] - 0.1
        along = float(self.rng.uniform(low_edge, high_edge))
        if any(s == side and a < along + high[0] and along - high[0] < b for s, a, b, _ in self.on_walls):
            return None
        self.on_walls.append((side, along - float(high[0]) - 0.1, along + float(high[0]) + 0.1, kind.raised - 0.1))
        x, y = self._against(side, along, float(high[1]) + 0.002)
        return (x, y, kind.raised + float(self.rng.uniform(-0.05, 0.1))), YAW[side]


def _stands_on(thing: Body, top: Body) -> bool:
    return bool(thing.position[2] > 0.2 and np.hypot(*(thing.position - top.position)[:2]) < top.reach)

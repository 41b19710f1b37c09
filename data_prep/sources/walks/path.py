"""A camera that a person carries through the rooms: where it goes, and where it looks.

It goes from room to room through the doorways, keeps clear of walls and furniture, turns towards the things of a room
one after the other until each was looked at, and looks ahead in between. Yaw is the angle from +y towards +x, as
camera.look takes it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from data_prep.sources.base import BadItem
from data_prep.sources.layout import Body
from data_prep.sources.walks.furnish import rectangle_of
from data_prep.sources.walks.plan import Plan

CELL = 0.1  # metres, of the grid that paths are found on
CLEAR = 0.24  # metres between the middle of the person and anything solid
SPEED, TURN = 0.75, math.radians(70)  # metres and radians a second, at most
STEP = 0.1  # seconds of the simulated walk
SEEN = math.radians(24)  # a thing this near to the middle of the view is looked at


@dataclasses.dataclass(frozen=True)
class Hand:
    """How unsteadily the camera is held, and what it does to its frames, each as a multiple of what is usual (0: not
    at all): `shake`, `blur` (of a shutter of 1/30 s), `exposure` (brightness that wanders and adapts).
    """

    shake: float = 1.0
    blur: float = 0.0
    exposure: float = 0.0


@dataclasses.dataclass
class Path:
    """Positions [n, 3] metres, yaw, pitch, roll [n] radians, and times [n] seconds of a walk's frames; `rates` [n, 6]:
    their change a second (three of position, then of yaw, pitch, roll).
    """

    positions: np.ndarray
    angles: np.ndarray
    times: np.ndarray
    rates: np.ndarray


class Ground:
    """Where a person can stand: a grid over all rooms."""

    def __init__(self, plan: Plan, bodies: list[Body]):
        from scipy.ndimage import distance_transform_edt

        low = np.min([a.low for a in plan.rooms], 0) - 0.3
        high = np.max([a.high for a in plan.rooms], 0) + 0.3
        self.low, self.shape = low, tuple(np.ceil((high - low) / CELL).astype(int))
        self.room = np.full(self.shape, -1)
        fine = 2  # cells of the grid that distances are measured on, to each of the path's
        solid = np.ones([fine * n for n in self.shape], bool)
        for k, area in enumerate(plan.rooms):
            self._fill(self.room, (*area.low, *area.high), CELL, k)
            self._fill(solid, (*area.low, *area.high), CELL / fine, False)
        for o in plan.openings:
            if o.kind == "doorway":
                axis = o.side[0]
                a, b = sorted((plan.rooms[o.room].face(o.side), plan.rooms[o.other].face((axis, -o.side[1]))))
                rect = (a, o.span[0], b, o.span[1]) if axis == 0 else (o.span[0], a, o.span[1], b)
                self._fill(solid, rect, CELL / fine, False)
        for body in obstacles(bodies):
            self._fill_body(solid, body, CELL / fine)
        self.clear = (distance_transform_edt(~solid) * (CELL / fine))[::fine, ::fine]
        self.free = self.clear >= CLEAR + CELL
        self._graph()

    def _fill(self, grid: np.ndarray, rect: tuple, cell: float, value: object) -> None:
        a, b = np.rint((np.array(rect[:2]) - self.low) / cell).astype(int)
        c, d = np.rint((np.array(rect[2:]) - self.low) / cell).astype(int)
        grid[max(a, 0) : c, max(b, 0) : d] = value

    def _fill_body(self, solid: np.ndarray, body: Body, cell: float) -> None:
        """Marks the body's footprint, an oriented rectangle."""
        x1, y1, x2, y2 = rectangle_of(body, cell)
        first = np.maximum(np.floor((np.array([x1, y1]) - self.low) / cell).astype(int), 0)
        last = np.ceil((np.array([x2, y2]) - self.low) / cell).astype(int)
        xs = self.low[0] + (np.arange(first[0], min(last[0], solid.shape[0])) + 0.5) * cell - body.position[0]
        ys = self.low[1] + (np.arange(first[1], min(last[1], solid.shape[1])) + 0.5) * cell - body.position[1]
        c, s = body.turn[0, 0], body.turn[1, 0]
        u, v = c * xs[:, None] + s * ys[None], -s * xs[:, None] + c * ys[None]
        inside = (np.abs(u) <= body.high[0] + cell / 2) & (np.abs(v) <= body.high[1] + cell / 2)
        solid[first[0] : first[0] + inside.shape[0], first[1] : first[1] + inside.shape[1]] |= inside

    def _graph(self) -> None:
        from scipy.sparse import coo_matrix

        count = self.free.size
        number = np.arange(count).reshape(self.shape)
        cost = 1 + 1.5 * np.exp(-(self.clear - CLEAR) / 0.25)  # paths keep to the middle
        rows, columns, weights = [], [], []
        for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
            here = (slice(0, self.shape[0] - dx), slice(max(0, -dy), self.shape[1] - max(0, dy)))
            there = (slice(dx, self.shape[0]), slice(max(0, dy), self.shape[1] - max(0, -dy)))
            both = self.free[here] & self.free[there]
            rows.append(number[here][both])
            columns.append(number[there][both])
            weights.append((cost[here] + cost[there])[both] * (0.5 * CELL * math.hypot(dx, dy)))
        self.graph = coo_matrix(
            (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (count, count)
        ).tocsr()

    def from_cell(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Cost of the way to every cell from one, and the cell before each on it."""
        from scipy.sparse.csgraph import dijkstra

        return dijkstra(self.graph, directed=False, indices=cell, return_predecessors=True)

    def place(self, cells: np.ndarray) -> np.ndarray:
        """Middle [n, 2] of cells, metres."""
        return self.low + (np.stack(np.unravel_index(cells, self.shape), -1) + 0.5) * CELL

    def clearance(self, places: np.ndarray) -> np.ndarray:
        """Distance [n] of places [n, 2] to what is solid, metres, within a cell."""
        index = np.floor((places - self.low) / CELL).astype(int)
        return self.clear[index[:, 0].clip(0, self.shape[0] - 1), index[:, 1].clip(0, self.shape[1] - 1)]


def obstacles(bodies: list[Body]) -> list[Body]:
    """What a person must walk around: neither flat on the floor nor above the head, nor standing on something."""
    return [
        b
        for b in bodies
        if b.kind not in ("wall", "casing") and b.position[2] < 0.2 and b.position[2] + b.high[2] > 0.05
    ]


def walk_path(plan: Plan, bodies: list[Body], frames: int, hand: Hand, rng: np.random.Generator) -> Path:
    """The camera's way, evenly spaced in time. BadItem where some room cannot be reached."""
    ground = Ground(plan, bodies)
    stations = _stations(plan, ground, rng)
    track, rooms = _track(plan, ground, stations)
    positions, yaw, pitch = _film(plan, bodies, track, rooms)
    height = float(rng.uniform(1.4, 1.65))
    return _sample(positions, yaw, pitch, height, frames, hand, rng)


def _stations(plan: Plan, ground: Ground, rng: np.random.Generator) -> list[int]:
    """Cells to pass, in order: two or three of each room, far from each other."""
    out: list[int] = []
    for k in range(len(plan.rooms)):
        cells = np.flatnonzero((ground.free & (ground.room == k)).ravel())
        if len(cells) < 12:
            raise BadItem("a room has no place to stand")
        if not out:
            middle = ground.place(cells).mean(0)
            apart = np.linalg.norm(ground.place(cells) - middle, axis=1)
            out.append(int(cells[apart.argsort()[int(rng.uniform(0.75, 1.0) * (len(cells) - 1))]]))
        cost, _ = ground.from_cell(out[-1])
        reach = cost[cells]
        if not np.isfinite(reach).mean() > 0.6:
            raise BadItem("furniture bars the way")
        cells, reach = cells[np.isfinite(reach)], reach[np.isfinite(reach)]
        far = int(cells[reach.argsort()[int(rng.uniform(0.85, 1.0) * (len(cells) - 1))]])
        out.append(far)
        if len(plan.rooms) == 1:
            cost, _ = ground.from_cell(far)
            apart = np.linalg.norm(ground.place(cells)[:, None] - ground.place(np.array(out))[None], axis=2).min(1)
            out.append(int(cells[apart.argmax()]))
    return out


def _track(plan: Plan, ground: Ground, stations: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Smooth way [n, 2] through the stations, points 5 cm apart, and the room [n] that each is in (that behind a
    doorway once it is reached).
    """
    from scipy.ndimage import gaussian_filter1d

    cells: list[int] = []
    for a, b in itertools.pairwise(stations):
        _, before = ground.from_cell(a)
        way = [b]
        while way[-1] != a:
            if way[-1] < 0 or before[way[-1]] < 0:
                raise BadItem("furniture bars the way")
            way.append(int(before[way[-1]]))
        cells += way[::-1][1 if cells else 0 :]
    rough = ground.place(np.array(cells))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(rough, axis=0), axis=1))])
    at = np.arange(0, max(length[-1], 0.05), 0.05)
    fine = np.stack([np.interp(at, length, rough[:, k]) for k in (0, 1)], -1)
    for sigma in (8, 5, 3, 1.5):  # as smooth as what stands around allows
        smooth = gaussian_filter1d(fine, sigma, axis=0, mode="nearest")
        if ground.clearance(smooth).min() >= CLEAR + CELL / 2:
            break
    else:
        smooth = fine
    index = np.floor((smooth - ground.low) / CELL).astype(int)
    rooms = ground.room[index[:, 0], index[:, 1]]
    for i in range(1, len(rooms)):
        if rooms[i] < 0:
            rooms[i] = rooms[i - 1]
    return smooth, rooms


class _Things:
    """What is to be looked at in a room: where, how low, and from how far it is seen whole."""

    def __init__(self, bodies: list[Body]):
        self.places = np.array([b.position[:2] for b in bodies]).reshape(-1, 2)
        self.levels = np.array([b.position[2] + b.high[2] / 2 for b in bodies])
        self.far = np.array([1.3 * max(*b.high[:2], b.high[2] / 2) + 0.2 for b in bodies])
        self.left = np.ones(len(bodies), bool)

    def from_here(self, here: np.ndarray, yaw: float) -> tuple[np.ndarray, np.ndarray]:
        """Angle from the view to each thing, and its distance."""
        away = self.places - here
        angle = np.arctan2(away[:, 0], away[:, 1]) - yaw
        return (angle + math.pi) % (2 * math.pi) - math.pi, np.hypot(away[:, 0], away[:, 1])

    def tilt(self, index: int, distance: float) -> float:
        """Pitch below the horizon towards a thing, from eye height."""
        down = math.atan2(1.5 - float(self.levels[index]), max(0.3, distance))
        return min(math.radians(30), max(math.radians(-12), down))


def _film(plan: Plan, bodies: list[Body], track: np.ndarray, rooms: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where the camera is and looks every STEP seconds: positions [n, 2], yaw [n], pitch [n]."""
    things = [_Things([b for b in bodies if b.is_object and int(b.size) == k]) for k in range(len(plan.rooms))]
    middles = [(np.array(a.low) + a.high) / 2 for a in plan.rooms]
    ahead = np.diff(track, axis=0, append=track[-1:] + (track[-1:] - track[-2:-1]))
    heading = np.arctan2(ahead[:, 0], ahead[:, 1])
    room, target, waited, place, out = int(rooms[0]), -1, 0.0, 0.0, []
    start = middles[room] - track[0]
    yaw, pitch = math.atan2(start[0], start[1]), math.radians(8)
    while True:
        at = min(int(place), len(track) - 1)
        if int(rooms[at]) != room:
            room, target, waited = int(rooms[at]), -1, 0.0
        here, now = track[at], things[room]
        angle, distance = now.from_here(here, yaw)
        leaving = at + 1 >= len(track) or int(rooms[min(at + 8, len(rooms) - 1)]) != room
        now.left &= (np.abs(angle) >= SEEN) | ((distance <= now.far) & (not leaving))
        if target < 0 or not now.left[target]:
            effort = np.abs(angle) + 0.1 * distance + 2 * np.maximum(0, now.far - distance)
            target = int(np.where(now.left, effort, np.inf).argmin()) if now.left.any() else -1
        if target >= 0:
            turn, tilt = float(angle[target]), now.tilt(target, float(distance[target]))
        else:
            over = middles[room] - here  # all seen: the last look of all is over the room
            last = room == int(rooms[-1])
            aim = math.atan2(over[0], over[1]) if last and np.hypot(*over) > 0.8 else yaw if last else heading[at]
            turn, tilt = (aim - yaw + math.pi) % (2 * math.pi) - math.pi, math.radians(10)
        yaw += min(TURN * STEP, max(-TURN * STEP, turn))
        pitch += min(0.5 * TURN * STEP, max(-0.5 * TURN * STEP, tilt - pitch))
        out.append((here[0], here[1], yaw, pitch))
        if leaving and target >= 0 and waited < 8.0:
            waited += STEP  # looks at the rest before it goes on
            continue
        if at + 1 >= len(track):
            break
        place += SPEED * STEP / 0.05 * (0.5 if target >= 0 else 1.0) * (0.5 if abs(turn) > 1 else 1.0)
    path = np.array(out)
    return path[:, :2], path[:, 2], path[:, 3]


def _sample(
    places: np.ndarray,
    yaw: np.ndarray,
    pitch: np.ndarray,
    height: float,
    frames: int,
    hand: Hand,
    rng: np.random.Generator,
) -> Path:
    """`frames` frames evenly spread over the walk, its turns smoothed, with the hand's shake."""
    from scipy.ndimage import gaussian_filter1d

    smooth = [gaussian_filter1d(v, 3.0, axis=0, mode="nearest") for v in (places, yaw, pitch)]
    seconds = np.arange(len(yaw)) * STEP
    state = np.column_stack([smooth[0], np.full(len(yaw), height), smooth[1], smooth[2], np.zeros(len(yaw))])
    pace = np.linalg.norm(np.gradient(smooth[0], STEP, axis=0), axis=1) / SPEED
    swing = hand.shake * np.minimum(pace, 1.2)
    state[:, 2] += 0.018 * swing * np.sin(2 * np.pi * 1.8 * seconds)  # steps
    for column, amount in ((0, 0.008), (1, 0.008), (2, 0.008), (3, 0.012), (4, 0.010), (5, 0.018)):
        noise = gaussian_filter1d(rng.standard_normal(len(yaw) + 40), 2.0)[20:-20]
        state[:, column] += hand.shake * amount * noise / 0.38
    times = np.linspace(0, seconds[-1], frames) if frames > 1 else seconds[:1]
    at = np.stack([np.interp(times, seconds, state[:, k]) for k in range(6)], -1)
    change = np.gradient(state, STEP, axis=0) if len(state) > 1 else np.zeros_like(state)
    rates = np.stack([np.interp(times, seconds, change[:, k]) for k in range(6)], -1)
    return Path(at[:, :3], at[:, 3:], times, rates)

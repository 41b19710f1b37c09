"""Numbers at the end of a chain: against the renderer's closed form, and inside the tolerance that they state."""

import collections
import functools
import random

import numpy as np
import pytest

from data_prep.annotate import build_pipeline
from data_prep.geometry.clouds import core
from data_prep.sources import DepthNoise
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis import FAMILIES, Options
from data_prep.synthesis.view import SceneView

SCENES = 24


@functools.cache
def rooms(noise=False, count=SCENES):
    """(scene record, bodies of its objects, camera) of small rendered rooms."""
    spread = {"linear": 0.03, "bias": 0.05, "correlation": 3.0}
    spec = {"source": "rendered", "preset": "rich", "count": count, "seed": 11, "width": 128, "height": 128}
    pipeline = build_pipeline(spec | ({"depth_noise": spread} if noise else {}))
    source = RenderedScenes("rich", count, 11, 128, 128, DepthNoise(**spread) if noise else None)
    out = []
    for index in range(count):
        room, drawn, things = source.draw(index)
        out.append((pipeline.record(index), room, drawn, [i for i, _ in things]))
    return out


def drafts(record, seed=0):
    return list(FAMILIES["chain"].generate(SceneView(record, Options()), random.Random(seed), Options()))


def closed_form(draft, room, drawn, indices):
    """The number from the room itself: places and boxes of its bodies, depth of their pixels."""
    bodies = [room.bodies[indices[int(thing.object_id)]] for thing in draft.objects]
    owners = [indices[int(thing.object_id)] for thing in draft.objects]
    middles = [b.turn @ ((b.low + b.high) / 2) + b.position for b in bodies]
    depth = [float(np.median(drawn.depth[core(drawn.owner == i)])) for i in owners]
    tall = [float(b.high[2] - b.low[2]) for b in bodies]

    def gap(i, j):
        return float(np.linalg.norm(middles[i] - middles[j]))

    return {
        "farther_from": lambda: gap(0, 1) - gap(0, 2),
        "deeper": lambda: depth[0] - depth[1],
        "taller_by": lambda: 100 * (tall[0] - tall[1]),
        "way": lambda: gap(0, 1) + gap(1, 2),
        "closer_one": lambda: gap(0 if depth[0] < depth[1] else 1, 2),
        "nearer_one": lambda: 100 * tall[0 if gap(0, 2) < gap(1, 2) else 1],
    }[draft.form.name]()


def test_every_chain_is_the_rooms_own_number():
    seen = collections.Counter()
    for record, *truth in rooms():
        for draft in drafts(record):
            seen[draft.form.name] += 1
            number = closed_form(draft, *truth)
            rounding = 0.51 if draft.unit == "cm" else 0.006 if number < 10 else 0.051
            assert float(draft.answer) == pytest.approx(number, abs=max(rounding, 0.02 * (draft.form.name == "deeper")))
            assert draft.hops >= 2 and draft.unit in ("m", "cm") and draft.reward["kind"] == "mra"
    assert set(seen) == {"farther_from", "deeper", "taller_by", "way", "closer_one", "nearer_one"}
    assert sum(seen.values()) > 10 * SCENES, seen


def test_a_chain_stays_inside_the_tolerance_that_it_states():
    inside = total = 0
    for (record, room, _, indices), (_, _, clean, _) in zip(rooms(noise=True), rooms()):
        for draft in (d for d in drafts(record) if d.form.name in ("deeper", "closer_one")):
            truth = closed_form(draft, room, clean, indices)
            assert draft.tolerance > 0 or draft.form.name == "closer_one"
            inside += abs(float(draft.answer) - truth) <= max(draft.tolerance, 0.01) * truth + 0.006
            total += 1
    assert total > SCENES and inside >= 0.95 * total, (inside, total)


def test_a_difference_keeps_the_scale_that_both_depths_share_and_only_once():
    from data_prep.synthesis.deviations import moves
    from data_prep.synthesis.families.chains import deeper_by

    record = next(r for r, *_ in rooms(noise=True) if len(r.objects) >= 2)
    view = SceneView(record, Options())
    a, b = sorted(view.things[:2], key=lambda t: -t.depth)
    value, moved = moves(view, (a, b), deeper_by(0, 1))
    assert moved.scale == pytest.approx(0.05 * value, rel=1e-6)
    assert moved.own == pytest.approx(np.hypot(a.sd["depth"], b.sd["depth"]), rel=1e-6)


def test_a_selection_is_asked_only_where_the_other_choice_gives_another_number():
    for record, *_ in rooms():
        for draft in (d for d in drafts(record, 1) if "other_m" in d.rule_inputs):
            value, other = draft.rule_inputs["value_m"], draft.rule_inputs["other_m"]
            assert max(value / other, other / value) >= 1.2, draft.question


def test_depth_in_words_is_asked_by_name_and_graded_by_a_judge():
    from data_prep.synthesis import choose_families

    assert "depth_words" not in [f.name for f in choose_families("all")]
    assert choose_families("all,depth_words")[-1].name == "depth_words"
    seen = collections.Counter()
    for record, _, drawn, indices in rooms():
        for draft in FAMILIES["depth_words"].generate(SceneView(record, Options()), random.Random(0), Options()):
            depth = {
                t.caption: float(np.median(drawn.depth[core(drawn.owner == indices[int(t.object_id)])]))
                for t in draft.objects
            }
            nearest, *_, farthest = sorted(depth, key=depth.get)
            assert draft.answer.startswith(f"the {nearest} is closer to the camera than the ")
            assert len(depth) == 2 or draft.answer.endswith(f"and the {farthest} is the farthest")
            assert draft.reward == {"kind": "judge"} and draft.question_type == "free"
            seen[draft.form.name] += 1
    assert min(seen["two"], seen["middle"]) > SCENES

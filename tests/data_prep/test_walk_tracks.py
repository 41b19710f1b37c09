"""Things followed over the frames of a clip: a rendered walk whose instances' ids are hidden is counted right."""

import collections
import dataclasses
import json

import numpy as np
import pytest

from data_prep.geometry.measure import Measure
from data_prep.pipeline import to_record
from data_prep.sources.walks import Walks
from data_prep.synthesis.vsi import MetadataError, Settings, room_questions, walks
from data_prep.synthesis.vsi.tracks import Box, clip_room, follow
from spatial_jax.data.records import SceneRecord

FRAMES = 12


def random_turn(rng):
    """A rotation of the clip's world: multi-view models take the first camera's."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


@pytest.fixture(scope="module")
def walk():
    """Frames of a walk as a clip of one's own, and the instances' true ids: boxes a little off, another world."""
    rng = np.random.default_rng(0)
    source, measure = Walks(1, seed=21, frames=FRAMES, width=160, height=160), Measure(16)
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = random_turn(rng), rng.normal(size=3)
    frames, ids = [], collections.defaultdict(set)
    for k in range(FRAMES):
        frame = source.load(k)
        measure(frame)
        scene = to_record(frame)
        things = []
        for thing in scene.objects:
            ids[thing.name].add(json.loads(thing.provenance)["instance"])
            center = tuple(np.array(thing.center) + rng.normal(0, 0.02, 3))
            extent = tuple(np.array(thing.extent) * rng.uniform(0.94, 1.06, 3))
            things.append(dataclasses.replace(thing, center=center, extent=extent, provenance="{}"))
        pose = world @ np.array(json.loads(scene.meta)["pose"]).reshape(4, 4)
        meta = {"video": "clip.mp4", "time": 0.5 * k, "pose": pose.ravel().tolist()}
        frames.append(dataclasses.replace(scene, objects=tuple(things), meta=json.dumps(meta)))
    return frames, ids


def test_things_are_counted_without_their_ids(walk):
    frames, ids = walk
    told = collections.Counter()
    room = clip_room("clip.mp4", frames, told)
    assert len(room.counts) >= 5 and max(len(found) for found in ids.values()) > 1
    assert room.counts == {name: len(ids[name]) for name in room.counts}
    unclear = {what.rpartition(": ")[2] for what in told if what.startswith("category")}
    assert set(ids) == set(room.counts) | unclear and len(unclear) <= 2
    assert "sightings followed into" in room.known_from
    for things in room.objects.values():
        assert all(np.abs(thing.axes[2, 2]) > 0.999 for thing in things), "the world is level"
    questions = room_questions(room, Settings("vsibench", most=3))
    assert {"vsi_object_abs_distance", "vsi_object_counting"} & {q.family for q in questions}
    assert all(json.loads(q.meta)["provenance"] == room.known_from for q in questions)


def test_a_clip_of_free_scale_has_no_lengths(walk):
    frames, _ = walk
    relative = [dataclasses.replace(f, depth_flag="relative") for f in frames]
    families = {q.family for q in room_questions(clip_room("c", relative, collections.Counter()), Settings())}
    assert families and not families & {"vsi_object_abs_distance", "vsi_object_size_estimation"}


def test_frames_without_a_pose_are_counted_and_the_rest_goes_on(walk):
    frames, ids = walk
    told = collections.Counter()
    lost = [
        dataclasses.replace(f, meta=json.dumps({"video": "clip.mp4"})) if k % 3 == 1 else f
        for k, f in enumerate(frames)
    ]
    room = clip_room("c", lost, told)
    assert told["frame without a pose: its things are not followed"] == FRAMES // 3
    assert all(count <= len(ids[name]) for name, count in room.counts.items())
    with pytest.raises(MetadataError, match="no frame has a pose"):
        clip_room("c", [dataclasses.replace(f, meta="{}") for f in frames], told)
    flipped = []
    for k, f in enumerate(frames):
        meta = json.loads(f.meta)
        pose = np.array(meta["pose"]).reshape(4, 4)
        pose[:3, :2] *= -1 if k % 2 else 1
        flipped.append(dataclasses.replace(f, meta=json.dumps(meta | {"pose": pose.ravel().tolist()})))
    with pytest.raises(MetadataError, match="where down is"):
        clip_room("c", flipped, told)


def test_boxes_that_hardly_touch_are_not_told_apart():
    def at(frame, x):
        return Box(frame, "chair", np.array([x, 0.0, 0.5]), np.eye(3), np.array([0.5, 0.5, 1.0]), 1.0)

    assert len(follow([at(0, 0.0), at(1, 0.05), at(2, 2.0)])) == 2
    assert len(follow([at(0, 0.0), at(0, 0.1)])) == 2, "two of one frame are never one thing"
    # Seen first from two sides, then found to be one.
    wide = Box(2, "chair", np.array([0.3, 0.0, 0.5]), np.eye(3), np.array([1.1, 0.5, 1.0]), 1.0)
    assert len(follow([at(0, 0.0), at(1, 0.6), wide])) == 1


def test_of_a_clip_of_a_hundred_thousand_frames_only_those_shown_are_kept(monkeypatch):
    read = []
    pose = np.eye(4).ravel().tolist()

    class Long:
        digest = "x"

        def __init__(self, path):
            pass

        def __len__(self):
            return 100_000

        def get(self, place):
            read.append(place)
            meta = f'{{"video": "v.mp4", "time": {place / 25}, "pose": {pose}}}'
            return SceneRecord(f"v.mp4#{place}", "", "", b"", 8, 8, "", gravity=(0.0, 1.0, 0.0), meta=meta)

    monkeypatch.setattr(walks, "SceneDataset", Long)
    folder = walks.WalkFolder("clips")
    read.clear()
    ((clip, room, why),) = folder.rooms(16)
    assert (clip, room) == ("v.mp4", None) and "an object with a 3-D box" in why
    assert len(read) == 16 and read[0] == 0 and read[-1] == 99_999
    assert folder.shown.video["times"][-1] == 99_999 / 25

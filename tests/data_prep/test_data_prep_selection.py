"""Choices over all pictures: made once, the same again, every drop with its reason, the first pass's failures left to
the second.
"""

import numpy as np

from data_prep.pipeline import Pipeline
from data_prep.runner import run_serial
from data_prep.selection import Chosen, Signatures, choose, select
from data_prep.sources import BadItem, Frame


class _Five:
    name = "five"

    def __len__(self):
        return 5

    def item_id(self, index):
        return f"item{index}"

    def load(self, index):
        if index == 3:
            raise BadItem("broken")
        return Frame(self.item_id(index), "five", np.full((40, 40, 3), 50 * (index // 2), np.uint8))

    def config(self):
        return {"source": "five"}


class _NoCopies:
    name = "duplicates"

    def config(self):
        return {"selector": self.name}

    def signature(self, frame):
        return int(frame.rgb.mean())

    def choose(self, ids, signatures):
        return [f"like {ids[signatures.index(s)]}" if s in signatures[:i] else "" for i, s in enumerate(signatures)]


class _First(_NoCopies):
    name = "first"

    def choose(self, ids, signatures):
        return ["" if i < 2 else "enough" for i in range(len(ids))]


def test_selectors_work_one_after_the_other_and_items_are_dropped_by_name(tmp_path):
    source, selectors = _Five(), [_NoCopies(), _First()]
    calls = []

    def signatures():
        calls.append(1)
        return run_serial(lambda: Signatures(source, selectors), 0, 5, 2)

    reasons = select(source, selectors, signatures, tmp_path / "selection.json")
    assert reasons == {"item1": "duplicates: like item0", "item4": "first: enough"}
    assert select(source, selectors, signatures, tmp_path / "selection.json") == reasons and len(calls) == 1
    outcomes = Pipeline(source, [Chosen(reasons, [s.config() for s in selectors])]).outcomes(list(range(5)))
    assert [o.kind for o in outcomes] == ["record", "dropped", "record", "failed", "dropped"]
    assert (
        outcomes[1].reason == "duplicates: like item0"
        and outcomes[1].stage == "selection"
        and outcomes[3].reason == "broken"
    )
    assert choose(["a"], [None], selectors) == {}


class _Double:
    """A stage that takes whole batches, as models do, and refuses one frame of each."""

    name = "double"
    sizes: list = []

    def config(self):
        return {"stage": self.name}

    def batch(self, frames):
        self.sizes.append(len(frames))
        return [None, *(BadItem("second of its batch") for _ in frames[1:2]), *(None for _ in frames[2:])]


def test_batch_stages_see_all_live_frames_at_once():
    stage = _Double()
    outcomes = Pipeline(_Five(), [stage]).outcomes([0, 3, 1, 2])
    assert stage.sizes == [3], "the broken item never reaches the model"
    assert [(o.item_id, o.kind) for o in outcomes] == [
        ("item0", "record"),
        ("item3", "failed"),
        ("item1", "failed"),
        ("item2", "record"),
    ]
    assert outcomes[2].reason == "second of its batch"

"""Which pictures alignment takes: all in turn, or each dataset's share, the same after a resume."""

import collections
import types

import pytest

from spatial_jax.data.integrity import DatasetError
from spatial_jax.training import align

SIZES = {"rooms": 4, "puzzles": 36}


@pytest.fixture
def stream(monkeypatch):
    """A stream of two datasets whose pictures are (dataset, number)."""
    monkeypatch.setattr(align, "open_scenes", lambda directory, split: range(SIZES[directory]))
    monkeypatch.setattr(align.SceneStream, "_label", lambda self, source, index: (source, index))

    def make(weights=(), **more):
        data = dict(paths=tuple(SIZES), split="train", seed=3, cache_mib=1, families=(), weights=weights) | more
        run = types.SimpleNamespace(data=types.SimpleNamespace(**data))
        return align.SceneStream(types.SimpleNamespace(run=run, processor=None))

    return make


def test_every_picture_comes_once_an_epoch(stream):
    every = [(s, i) for s, size in enumerate(SIZES.values()) for i in range(size)]
    pictures = stream()
    first, second = pictures.take(40), pictures.take(40)
    assert sorted(first) == sorted(second) == every and first != second


def test_weights_are_shares_of_pictures(stream):
    pictures = stream((0.25, 0.75))
    seen = collections.Counter(pictures.take(40))
    assert sum(count for (source, _), count in seen.items() if source == 0) == 10
    assert {count for (source, _), count in seen.items() if source == 0} == {2, 3}  # all before any comes again
    assert all(count == 1 for (source, _), count in seen.items() if source == 1)
    ahead = stream((0.25, 0.75))
    ahead.set_state({"drawn": 40})
    assert ahead.take(60) == pictures.take(60)


def test_what_alignment_cannot_follow_is_refused(stream, monkeypatch):
    with pytest.raises(ValueError, match=r"config\.data\.families: alignment takes scenes"):
        stream(families=("kind",))
    with pytest.raises(ValueError, match="not all 0"):
        stream((0.0, 0.0))
    monkeypatch.setitem(SIZES, "rooms", 0)
    with pytest.raises(DatasetError, match="rooms: no picture in its split 'train'"):
        stream()

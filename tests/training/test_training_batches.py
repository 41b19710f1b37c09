"""Questions packed behind their picture are scored as if they stood alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from spatial_jax.processing.prompt import EncodedPrompt, prefix, shared_length
from spatial_jax.training.batches import Buckets
from spatial_jax.training.together import by_picture


def prompt(ids, picture=3):
    ids = np.asarray(ids, np.int32)
    types = np.zeros(len(ids), np.uint8)
    types[1 : 1 + picture] = 1
    positions = np.tile(np.arange(len(ids), dtype=np.int32), (3, 1))
    return EncodedPrompt(ids, positions, len(ids), types, None, np.zeros((0, 3), np.int32), [])


def test_shared_part_ends_where_prompts_part_and_leaves_a_token():
    a, b = prompt([9, 1, 1, 1, 5, 6, 7]), prompt([9, 1, 1, 1, 5, 8])
    assert shared_length([a, b]) == 5
    assert shared_length([a, a]) == 6
    assert shared_length([a]) == 6
    cut = prefix(a, 5)
    assert len(cut) == 5 and cut.next_position == 5


def test_prompts_that_part_before_the_picture_share_nothing():
    assert shared_length([prompt([9, 1, 1, 1, 5, 6]), prompt([8, 1, 1, 1, 5, 6])]) == 0


@pytest.mark.parametrize("length", [4, 5])
def test_prefix_keeps_the_picture(length):
    cut = prefix(prompt([9, 1, 1, 1, 5, 6, 7]), length)
    assert cut.type_ids.sum() == 3 and cut.positions.shape == (3, length)


def question(ids, answer, scene="a"):
    record = SimpleNamespace(scene_id=scene, images=(b"picture",))
    return SimpleNamespace(dataset="d", record=record, prompt=prompt(ids), target_ids=np.zeros(answer, np.int32))


def test_questions_on_one_picture_share_it_only_where_their_own_parts_fit():
    buckets = Buckets((16,), (6,), (64,), 0, None)
    short, other, long = (
        question([9, 1, 1, 1, 5, 6], 3),
        question([9, 1, 1, 1, 7, 6], 4),
        question([9, 1, 1, 1, 8, 6, 6], 4),
    )
    assert by_picture([short, other], 8, buckets) == [[short, other]]
    assert by_picture([short, long], 8, buckets) == [[short], [long]]  # three tokens and four do not fit six
    assert by_picture([short, question([8, 1, 1, 1, 5, 6], 3)], 8, buckets)[0] == [
        short
    ]  # text before the picture differs
    assert by_picture([short, question([9, 1, 1, 1, 7, 6], 4, "b")], 8, buckets)[0] == [short]
    assert list(map(len, by_picture([short] * 5, 2, buckets))) == [2, 2, 1]

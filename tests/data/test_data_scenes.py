"""What a rendered scene teaches: words where the objects are, their places and distances, and where the text names
them.
"""

import io
import math

import numpy as np
import pytest
from PIL import Image

from data_prep import synthesize
from data_prep.annotate.__main__ import main as annotate
from spatial_jax.data.fresh import make_fresh, tiny_qwen2_5_vl
from spatial_jax.data.scenes import caption_ids, label_scene, open_scenes, place_ids, scene_at
from spatial_jax.processing import Processor


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    assert annotate(["--source=rendered", "--preset=plain", "--count=12", "--seed=5", f"--out={root}/scenes"]) == 0
    assert (
        synthesize.main(
            [
                f"--scenes={root}/scenes",
                f"--out={root}/questions",
                "--families=bearing,abs_depth,listing",
                "--profile=plain",
                "--wordings=1",
            ]
        )
        == 0
    )
    make_fresh("tiny", [f"{root}/questions"], root / "policy")
    processor = Processor.from_pretrained(root / "policy")
    source = open_scenes(root / "scenes")
    scenes = [scene_at(source, i) for i in range(len(source))]
    return processor, [
        (scene, label_scene(scene, processor, np.random.default_rng(i))) for i, scene in enumerate(scenes)
    ]


def text(processor, ids):
    return processor.tokenizer.decode([int(i) for i in np.atleast_1d(ids) if i >= 0])


def test_visual_tokens_are_named_by_what_covers_them(world):
    processor, labelled = world
    for scene, labels in labelled:
        grid = labels.words.reshape(4, 4, -1)
        captions = {item.caption for item in scene.objects}
        for row, col in np.argwhere(grid[..., 0] >= 0):
            said = text(processor, grid[row, col]).strip()
            assert said in captions
            item = next(o for o in scene.objects if o.caption == said)
            mask = np.asarray(Image.open(io.BytesIO(item.mask_png)))[
                row * 28 : (row + 1) * 28, col * 28 : (col + 1) * 28
            ]
            assert mask.mean() / 255 > 0.1


def test_names_in_the_text_carry_their_objects_place_and_distance(world):
    processor, labelled = world
    for scene, labels in labelled:
        said = {}
        for at, place in zip(labels.name_at, labels.name_places):
            if at >= 0:
                said.setdefault(tuple(place), []).append(text(processor, labels.prompt.input_ids[at]).strip())
        for item in scene.objects:
            x, y, depth = (item.box[0] + item.box[2]) / 224, (item.box[1] + item.box[3]) / 224, item.depth_median
            words = place_ids(processor, x, y, depth)
            assert text(processor, words[0]).strip() == ("left" if x < 0.5 else "right")
            assert text(processor, words[1]).strip() == ("top" if y < 0.5 else "bottom")
            assert text(processor, words[2]) == str(math.floor(round(depth, 1)))
            assert set(item.caption.split()) <= set(said[tuple(words)])


def test_empty_places_know_their_own_side_only(world):
    processor, labelled = world
    _, labels = labelled[0]
    places, words = labels.places.reshape(4, 4, 3), labels.words.reshape(4, 4, -1)
    empty = words[..., 0] < 0
    assert empty.any() and (places[empty][:, 2] == -1).all()
    left = int(place_ids(processor, 0.1, 0.1)[0])
    assert all((places[r, c, 0] == left) == (c < 2) for r, c in np.argwhere(empty))
    assert place_ids(processor, 0.1, 0.1, 12.0)[2] == -1 and place_ids(processor, 0.1, 0.1, float("nan"))[2] == -1


def test_a_published_shape_takes_random_weights_and_a_tokenizer_of_its_own(world, tmp_path, monkeypatch):
    """`convert --fresh=qwen2_5_vl_3b --dtype=bfloat16`: a rehearsal without the weights (a small shape stands in for
    the 3B here).
    """
    from spatial_jax.models import load_pretrained
    from spatial_jax.models.families import FAMILIES, Size

    shape = tiny_qwen2_5_vl(1024)
    monkeypatch.setitem(FAMILIES["qwen2_5_vl"].sizes, "3b", Size(shape.text, shape.vision, False))
    config = make_fresh("qwen2_5_vl_3b", [], tmp_path, dtype="bfloat16")
    processor, policy = Processor.from_pretrained(tmp_path), load_pretrained(tmp_path, dtype="bfloat16")
    assert policy.config.text.vocab_size == 1024 > len(processor.tokenizer)  # the published length, not the tokenizer's
    assert policy.config.image_token_id == config.image_token_id == processor.tokenizer.token_id("<|image_pad|>")
    assert policy.dtype == "bfloat16"
    with pytest.raises(ValueError, match="qwen2_5_vl_7b"):
        make_fresh("qwen2_5_vl_3bb", [], tmp_path)


def test_a_number_is_named_by_itself_not_by_the_space_before_it():
    processor = Processor.from_pretrained("configs/drawing_policy")
    assert [text(processor, caption_ids(name, processor, 2)) for name in ("1", "red ball")] == ["1", " red ball"]

"""Bad pictures and messages give one clear line; fresh processor files are the same every time; buckets, batches,
turns.
"""

import io
import json
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spatial_jax.models.configs import published_config
from spatial_jax.models.hf_config import config_to_hf
from spatial_jax.processing import (
    AnswerTurn,
    ImageError,
    Processor,
    Video,
    choose_bucket,
    collate_answers,
    collate_prompts,
    collate_turns,
    load_image,
    smart_resize,
    train_tokenizer,
)
from spatial_jax.processing.collate import choose_pack
from spatial_jax.processing.video import read_video

TEXTS = ["Which is closer, the cup or the book?", "A 12.5 m wall"] * 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy")
    ids = train_tokenizer(TEXTS, 330, path, max_pixels=64 * 28 * 28)
    (path / "config.json").write_text(json.dumps({**config_to_hf(published_config("qwen2_5_vl_3b")), **ids}))
    return path


@pytest.fixture(scope="module")
def processor(folder):
    return Processor.from_pretrained(folder)


def picture(width=56, height=84):
    return Image.fromarray(np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8))


def encoded(image, kind="JPEG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ask(*kinds):
    return [{"role": "user", "content": [{"type": kind} for kind in kinds] + [{"type": "text", "text": "Which?"}]}]


def test_pictures_that_cannot_be_used(tmp_path, processor):
    data = encoded(picture(200, 200))
    for bad, message in (
        (data[:300], "not a readable picture"),
        (b"", "not a readable picture"),
        (b"GIF89a" + bytes(30), "not a readable picture"),
        (np.zeros((4, 4, 3)), "an array must be uint8"),
        (3.5, "float is not a picture"),
        (picture(1000, 4), "their ratio at most 200"),
    ):
        with pytest.raises(ImageError, match=message) as error:
            processor.encode(ask("image"), [bad])
        assert "\n" not in str(error.value)
    (tmp_path / "a.jpg").write_bytes(data[:100])
    with pytest.raises(ImageError, match=r"a.jpg: not a readable picture"):
        load_image(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"nowhere.png"):
        load_image("nowhere.png")
    with pytest.raises(ImageError, match=r"text.mp4: not a readable video"):
        (tmp_path / "text.mp4").write_text("no")
        read_video(tmp_path / "text.mp4")
    with pytest.raises(ImageError, match="frames have different sizes"):
        processor.encode(ask("video"), videos=[[picture(), picture(28, 28)]])
    with pytest.raises(ImageError, match="video 1: no frames"):
        processor.encode(ask("video"), videos=[[]])


def test_files_are_turned_by_their_exif_and_16_bit_grey_is_scaled():
    tagged = Image.Exif()
    tagged[0x0112] = 6
    assert load_image(encoded(picture(60, 20), exif=tagged)).size == (20, 60)
    grey = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    assert (np.asarray(load_image(encoded(grey, "PNG")))[..., 0].reshape(-1) == np.arange(256)).all()


def test_messages_and_pictures_must_match(processor):
    with pytest.raises(ValueError, match=r"the messages show 1 picture\(s\) but 2 were given"):
        processor.encode(ask("image"), [picture(), picture()])
    with pytest.raises(ValueError, match=r"show 1 picture\(s\) but 0 were given.*keep <\|image_pad\|> out of texts"):
        processor.encode([{"role": "user", "content": "a <|image_pad|>"}])
    with pytest.raises(ValueError, match="padding_side 'top' is unknown"):
        processor(ask(), padding_side="top")
    inline = processor.encode(
        [{"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "Which?"}]}]
    )
    np.testing.assert_array_equal(inline.pixel_values, processor.encode(ask("image"), [picture()]).pixel_values)


def test_folders_that_are_no_checkpoints(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"no such folder"):
        Processor.from_pretrained(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"neither tokenizer.json nor vocab.json"):
        Processor.from_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no preprocessor_config.json"):
        Processor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"preprocessor_config.json: not valid JSON"):
        Processor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "image_token_id": 5}))
    with pytest.raises(ValueError, match="the files are of different checkpoints"):
        Processor.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="min_pixels 9000 is above max_pixels 1000"):
        Processor.from_pretrained(folder, min_pixels=9000, max_pixels=1000)
    assert Processor.from_pretrained(folder, max_pixels=1000).image_settings.min_pixels == 1000
    assert Processor.from_pretrained(folder, min_pixels=10**6).image_settings.max_pixels == 10**6


def test_vocab_and_merges_files_give_the_same_ids(tmp_path, folder, processor):
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    for name in ("tokenizer_config.json", "config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(m if isinstance(m, str) else " ".join(m) for m in model["merges"])
    )
    old = Processor.from_pretrained(tmp_path)
    for text in ("Which is closer? 12.5", "<|im_start|>a<|im_end|> é"):
        assert old.tokenizer.encode(text) == processor.tokenizer.encode(text)


def test_fresh_files_are_the_same_every_time(tmp_path):
    first, second = train_tokenizer(TEXTS, 330, tmp_path / "a"), train_tokenizer(TEXTS, 330, tmp_path / "b")
    assert first == second and first["vocab_size"] <= 330
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert (
        all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
        and "tokenizer.json" in names
    )
    with pytest.raises(ValueError, match="vocab_size 200 is too small; 256 bytes and 22 special tokens need 278"):
        train_tokenizer(TEXTS, 200, tmp_path)
    with pytest.raises(ValueError, match="family 'llama' is unknown"):
        train_tokenizer(TEXTS, 400, tmp_path, family="llama")


def test_ids_that_end_and_ids_that_are_banned(processor):
    token = processor.tokenizer.token_id
    assert processor.eos_ids == (token("<|im_end|>"), token("<|endoftext|>")) and processor.pad_id == token(
        "<|endoftext|>"
    )
    assert set(processor.banned_ids) == {
        token(f"<|{t}|>") for t in ("vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")
    }
    assert processor.decode([*processor.tokenizer.encode("a <b>"), processor.eos_ids[0]]) == "a <b>"


def test_import_is_light_and_pickles(processor):
    code = (
        "import sys; from spatial_jax.processing import Processor, train_tokenizer; "
        "assert not {'torch', 'jax', 'flax', 'transformers', 'tensorflow'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    again = pickle.loads(pickle.dumps(processor))
    np.testing.assert_array_equal(
        again.encode(ask("image"), [picture()]).input_ids, processor.encode(ask("image"), [picture()]).input_ids
    )


@settings(max_examples=200)
@given(
    st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([28, 32]), st.integers(784, 10**6), st.integers(1, 40)
)
def test_smart_resize_stays_within_its_limits(height, width, factor, low, ratio):
    if max(height, width) / min(height, width) > 200:
        return
    high = low * (ratio + 3) + 16 * factor * factor
    new_height, new_width = smart_resize(height, width, factor, low, high)
    assert new_height % factor == 0 and new_width % factor == 0
    assert new_height * new_width <= high or min(new_height, new_width) == factor


def test_measure_is_what_encode_gives(processor):
    video = Video([picture(100, 60)] * 5, fps=2.0, indices=tuple(range(5)), total=5)
    prompt = processor.encode(ask("image", "video"), [picture(200, 90)], [video])
    assert processor.measure(ask("image", "video"), [(200, 90)], [(video, (100, 60))]) == (len(prompt), prompt.patches)


def test_prompt_batches(processor):
    config = processor.config.vision
    prompts = [
        processor.encode(ask("image"), [picture()]),
        processor.encode(ask()),
        processor.encode(ask("image", "image"), [picture(), picture(84, 56)]),
    ]
    batch = collate_prompts(prompts, config, prompt_bucket=96, patch_bucket=128, pad_id=processor.pad_id)
    used = 0
    for row, prompt in enumerate(prompts):
        n = len(prompt)
        assert (batch.tokens[row, -n:] == prompt.input_ids).all() and (batch.tokens[row, :-n] == processor.pad_id).all()
        assert batch.valid[row].sum() == n and (batch.positions[:, row, -n:] == prompt.positions).all()
        rows = batch.feature_index[row][batch.feature_index[row] >= 0]
        assert rows.tolist() == list(range(used, used + len(rows))) and len(rows) == prompt.patches // 4
        used += len(rows)
    assert batch.next_position.tolist() == [p.next_position for p in prompts] and batch.vision.patches.shape == (
        128,
        1176,
    )
    with pytest.raises(ValueError, match=r"prompt 0 has .* tokens, the bucket 32"):
        collate_prompts(prompts, config, prompt_bucket=32, patch_bucket=None, pad_id=0)
    with pytest.raises(ValueError, match="not normalised yet"):
        collate_prompts(
            [processor.encode(ask("image"), [picture()], normalise=False)],
            config,
            prompt_bucket=64,
            patch_bucket=None,
            pad_id=0,
        )


def test_answer_batches_and_later_turns(processor):
    answers = [[np.arange(3), np.arange(5)], [np.arange(1), np.arange(2)]]
    batch = collate_answers(answers, [10, 20], answer_bucket=8, pad_id=9)
    assert batch.tokens[0, 1].tolist() == [0, 1, 2, 3, 4, 9, 9, 9] and batch.loss_mask.sum() == batch.valid.sum() == 11
    assert batch.positions[:, 1, 1, :2].tolist() == [[20, 21]] * 3
    seen = processor.encode_text(
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n", [picture()], start=7
    )
    turns = [[[AnswerTurn(np.array([1, 2])), AnswerTurn(observation=seen), AnswerTurn(np.array([3]))]]]
    batch = collate_turns(turns, [30], processor.config.vision, answer_bucket=40, patch_bucket=None, pad_id=0)
    n = len(seen)
    assert batch.loss_mask[0, 0].nonzero()[0].tolist() == [0, 1, n + 2] and batch.valid.sum() == n + 3
    assert (batch.positions[:, 0, 0, 2 : 2 + n] == seen.positions - 7 + 32).all()
    assert batch.positions[:, 0, 0, n + 2].tolist() == [seen.next_position - 7 + 32] * 3
    assert (batch.feature_index >= 0).sum() == seen.patches // 4
    with pytest.raises(ValueError, match="more than 4 tokens; raise the answer bucket"):
        collate_answers(answers, [1, 2], answer_bucket=4, pad_id=0)
    with pytest.raises(ValueError, match="group 1 has 1 answers, the first has 2"):
        collate_answers([answers[0], answers[1][:1]], [1, 2], answer_bucket=8, pad_id=0)


def test_a_conversation_goes_on_by_token_id(processor):
    first = processor.encode(ask("image"), [picture()])
    said = processor.tokenizer.encode("the cup") + [processor.eos_ids[0]]
    text = "\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>And?<|im_end|>\n<|im_start|>assistant\n"
    turn = processor.encode_text(text, [picture(84, 84)], start=first.next_position + len(said))
    whole = first.followed_by(said, turn)
    messages = [
        *ask("image"),
        {"role": "assistant", "content": "the cup"},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "And?"}]},
    ]
    at_once = processor.encode(messages, [picture(), picture(84, 84)])
    for name in ("input_ids", "positions", "type_ids", "pixel_values", "grid_thw"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(at_once, name), err_msg=name)
    assert (whole.next_position, whole.model_sizes) == (at_once.next_position, at_once.model_sizes)
    with pytest.raises(ValueError, match="the turn's positions start at"):
        first.followed_by(said[:-1], turn)


def test_buckets():
    assert choose_bucket(5, (8, 4, 16)) == 8 and choose_bucket(16, (8, 4, 16)) == 16
    with pytest.raises(ValueError, match="patches 17 is above the largest bucket 16"):
        choose_bucket(17, (8, 4, 16), "patches")


def test_a_video_file(tmp_path, processor):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            frame = np.full((48, 64, 3), 8 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    video = read_video(tmp_path / "a.mp4")
    assert len(video) == 30 and video.fps == 10
    prompt = processor.encode(ask("video"), videos=[str(tmp_path / "a.mp4")])
    assert prompt.grid_thw[0, 0] == 3  # 3 s at 2 frames a second, two frames a time step
    times = np.unique(prompt.positions[0, prompt.type_ids == 2])
    assert np.diff(times).tolist() == [2, 2]  # one second a step, two ids a second


def test_a_pack_shrinks_where_sharing_saves_half():
    """A few shared pictures change no size, for each is a program to compile."""

    def prompts(*keys):
        return [SimpleNamespace(patches=100, keys=(key,)) for key in keys]

    buckets = (100, 200, 300, 400)
    for keys, rows in ((b"abcd", 400), (b"aabc", 400), (b"aabb", 200), (b"aaaa", 100)):
        assert choose_pack(prompts(*keys), buckets, 1, "patches") == (rows, 1)
    # Where all would not fit, what is distinct must.
    assert choose_pack(prompts(*b"aabc"), (300,), 1, "patches") == (300, 1)
    assert choose_pack(prompts(*b"aabb"), (400,), 2, "patches") == (400, 2)

"""Which frames of a clip are asked about, and what is said of clips that do not fit or cannot be shown."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import question_sets

import tests.torchvision_shim  # noqa: F401
from spatial_jax.data import open_questions
from spatial_jax.data.encode import QuestionEncoder
from spatial_jax.data.frames import choose_record_frames
from spatial_jax.data.plan import plan_questions
from spatial_jax.data.prompts import PromptStyle
from spatial_jax.data.source import Unusable
from spatial_jax.processing import ImageError, Processor
from spatial_jax.processing.image import ImageSettings
from spatial_jax.processing.video import VideoSettings, with_frames


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return question_sets.make_policy_folder(tmp_path_factory.mktemp("frames"))


def clip(i: int, frames: int, width: int = 336, height: int = 224, **video):
    """A question on `frames` frames; all are one picture, which no test looks at."""
    picture = question_sets.png(0, width, height, "JPEG")
    return question_sets.record(
        i,
        "clip",
        images=(picture,) * frames,
        widths=(width,) * frames,
        heights=(height,) * frames,
        question="How far?",
        meta=json.dumps({"video": video}),
    )


def blank(frames: int, **video):
    """The same without pictures."""
    sides = (1,) * frames
    return dataclasses.replace(clip(0, 1, **video), images=(b"",) * frames, widths=sides, heights=sides)


def shown(record) -> list[int]:
    return json.loads(record.meta)["video"]["indices"]


@pytest.mark.parametrize("whole_clip", [False, True], ids=["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize(("frames", "fps"), [(16, None), (7, None), (None, 2.0), (None, 0.3), (24, 2.0)])
def test_frames_are_those_of_the_checkpoint_s_processor(whole_clip, frames, fps):
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
    from transformers.video_utils import VideoMetadata

    image = ImageSettings(14, 2, 2, (0, 0, 0), (1, 1, 1), 28 * 28, 10**9)
    settings = VideoSettings(image, whole_clip, sample=True)
    theirs = (Qwen3VLVideoProcessor if whole_clip else Qwen2VLVideoProcessor)(fps=None)
    if frames and fps:
        theirs.max_frames, theirs.min_frames = frames, 4
    for total, rate in ((31, 6.0), (240, 30.0), (901, 29.97)):
        told = {"fps": fps} if fps else {"num_frames": frames}
        expected = np.asarray(theirs.sample_frames(VideoMetadata(total_num_frames=total, fps=rate), **told))
        record = dataclasses.replace(
            clip(0, 1, fps=rate), images=(b"",) * total, widths=(1,) * total, heights=(1,) * total
        )
        asked = choose_record_frames(record, PromptStyle(frames=frames, fps=fps), settings)
        assert shown(asked) == expected.tolist() and len(asked.images) == len(asked.widths) == len(expected)
        # The same clip of which only every second frame was kept: those of a clip of half the rate.
        half = list(range(0, total, 2))
        part = blank(len(half), fps=rate, indices=half, total=total)
        stated = VideoMetadata(total_num_frames=len(half), fps=len(half) / total * rate)
        places = np.asarray(theirs.sample_frames(stated, **told)) if fps or len(half) >= frames else range(len(half))
        assert shown(choose_record_frames(part, PromptStyle(frames=frames, fps=fps), settings)) == [
            half[i] for i in places
        ]


def test_a_prompt_holds_the_chosen_frames_and_other_records_are_as_they_were(policy):
    processor = Processor.from_pretrained(policy)
    record = clip(0, 12, fps=3.0)
    whole, four = (QuestionEncoder(processor, PromptStyle(frames=n)).encode(record) for n in (None, 4))
    assert whole.prompt.grid_thw[0, 0] == 6 and whole.record.images == record.images
    assert four.prompt.grid_thw[0, 0] == 2 and shown(four.record) == [0, 3, 6, 9]
    encoder = QuestionEncoder(processor, PromptStyle(fps=1.0, frames=2))
    assert len(encoder.encode(record).record.images) == 2
    plain = question_sets.record(1)
    assert encoder.encode(plain).record.images == plain.images
    by_rate = QuestionEncoder(processor, PromptStyle(fps=1.0))
    for at in (record, clip(1, 12, fps=3.0, indices=list(range(0, 24, 2)), total=24)):
        question = by_rate.encode(at)
        assert by_rate.measure(at)[:2] == (len(question.prompt), question.prompt.patches)
    no_rate = by_rate.encode(clip(2, 12))
    assert isinstance(no_rate, Unusable) and "set config.data.frames in its place" in no_rate.reason
    with pytest.raises(ValueError, match="2 frames at a time"):
        with_frames(processor.video_settings, 1, None)


@pytest.mark.parametrize("size", ["qwen2_5_vl_3b", "qwen3_vl_2b"])
def test_a_clip_that_does_not_fit_is_told_what_to_lower_and_to_what(tmp_path, size, caplog):
    folder = question_sets.make_policy_folder(tmp_path / "policy", size)
    records = [clip(i, n, *side, fps=2.0) for i, (n, *side) in enumerate([(4, 56, 56), (16, 640, 480), (24, 448, 336)])]
    source = open_questions(question_sets.write(tmp_path / "set", records))
    limits = {"max_prompt_tokens": 600, "max_patches": 4096}
    told = {"video_min_pixels": 2048, "video_max_pixels": 10**7}
    processor = Processor.from_pretrained(folder, **told)
    with caplog.at_level(logging.WARNING):
        plan = plan_questions(source, QuestionEncoder(processor), **limits)
        plan.report()
    assert [o.position for o in plan.offenders] == [1, 2]
    (line,) = (m for m in caplog.messages if "left out: more than 600 prompt tokens" in m)
    words = line.replace(";", "").replace(",", "").split()
    after = {"config.data.video_max_pixels": 2, "config.data.frames": 2, "add": 1}  # words before each number
    pixels, frames, bucket = (int(words[words.index(word) + n]) for word, n in after.items())

    def left_out(frames=None, **changes):
        trial = Processor.from_pretrained(folder, **told | changes)
        return len(plan_questions(source, QuestionEncoder(trial, PromptStyle(frames=frames)), **limits).offenders)

    unit = processor.video_settings.image.factor**2
    assert left_out(video_max_pixels=pixels) == 0 and left_out(video_max_pixels=pixels + unit) > 0
    assert left_out(frames) == 0 and left_out(frames + 2) > 0
    wide = plan_questions(source, QuestionEncoder(processor), max_prompt_tokens=bucket, max_patches=10**6)
    assert not wide.offenders and max(wide.tokens) > bucket - 256


def test_texts_that_are_too_long_are_not_told_to_lower_pixels(tmp_path, policy, caplog):
    record = dataclasses.replace(clip(0, 4, fps=1.0), question="far " * 900)
    source = open_questions(question_sets.write(tmp_path / "set", [record, question_sets.record(1)]))
    plan = plan_questions(source, QuestionEncoder(Processor.from_pretrained(policy)), max_prompt_tokens=400)
    assert "no picture is small enough beside these texts: add" in plan.advice["more than 400 prompt tokens"]


def test_clips_that_cannot_be_shown_are_named_and_the_rest_goes_on(tmp_path, policy):
    broken = clip(1, 6, fps=2.0)
    broken = dataclasses.replace(broken, images=(*broken.images[:3], broken.images[3][:60], *broken.images[4:]))
    mixed = dataclasses.replace(clip(2, 4, fps=2.0), widths=(336, 336, 320, 336))
    records = [clip(0, 6, fps=2.0), broken, mixed, clip(3, 1, fps=2.0), clip(4, 3, fps=2.0, indices=[0, 1], total=9)]
    source = open_questions(question_sets.write(tmp_path / "set", records))
    encoder = QuestionEncoder(Processor.from_pretrained(policy))
    plan = plan_questions(source, encoder, max_prompt_tokens=4096)
    reasons = {o.position: o.reason for o in plan.offenders}
    assert "its video's frames have 2 sizes" in reasons[2] and "one a frame" in reasons[4] and len(reasons) == 2
    found = [encoder(source, i) for i in range(5)]
    assert [isinstance(q, Unusable) for q in found] == [False, True, True, False, True]
    assert "picture 4: not a readable picture" in found[1].reason
    assert found[3].prompt.grid_thw[0, 0] == 1  # one frame is shown twice


def test_a_clip_of_one_frame_of_a_family_that_takes_two_is_refused_before_step_0(tmp_path):
    processor = Processor.from_pretrained(question_sets.make_policy_folder(tmp_path, "qwen3_vl_2b"))
    with pytest.raises(ImageError, match="at least 2 frames"):
        QuestionEncoder(processor).measure(clip(0, 1, fps=2.0))

"""Clips as people's phones and tools make them: turned, late, of a varying rate, cut off, damaged, of one frame."""

import struct
from fractions import Fraction

import numpy as np
import pytest
import question_sets
from PIL import Image

from data_prep.sources import BadItem, open_source
from spatial_jax.chat import Conversation, Options
from spatial_jax.data.asked import UNKNOWN
from spatial_jax.data.prompts import video_facts
from spatial_jax.evals.frames import read_frames
from spatial_jax.media import ClipError, Timing, clip_timing, read_clip
from spatial_jax.processing.image import ImageError, ImageSettings
from spatial_jax.processing.video import Video, VideoSettings, as_video, read_video, sample_video, timestamps

av = pytest.importorskip("av")

LIMITS = ImageSettings(14, 2, 2, (0.5,) * 3, (0.5,) * 3, 784, 10**6)
QWEN25 = VideoSettings(LIMITS, whole_clip=False, sample=True)
QWEN3 = VideoSettings(LIMITS, whole_clip=True, sample=True)


def write(path, milliseconds, size=(96, 64), gop=12):
    """Frame k is grey 10 * k with a red corner at the top left, shown at milliseconds[k]."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1000)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base, stream.codec_context.gop_size = Fraction(1, 1000), gop
        for k, time in enumerate(milliseconds):
            pixels = np.full((size[1], size[0], 3), 10 * (k % 25), np.uint8)
            pixels[:16, :16] = (250, 0, 0)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_matrix(path, a, b, c, d):
    """Writes the display matrix of an MP4's track, as phones do."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    struct.pack_into(">9i", data, start, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def red_corner(pixels):
    """(row, column) of the red corner, 0 or 1 each."""
    height, width = pixels.shape[:2]
    corners = pixels[[8, 8, height - 8, height - 8], [8, width - 8, 8, width - 8]].astype(int)
    return divmod(int(np.argmax(corners[:, 0] - corners[:, 1])), 2)


def grey(pixels):
    return round(float(np.median(np.asarray(pixels))) / 10)


TURNS = {
    (1, 0, 0, 1): ((64, 96), (0, 0)),
    (0, 1, -1, 0): ((96, 64), (0, 1)),  # a phone held upright: a quarter with the clock
    (-1, 0, 0, -1): ((64, 96), (1, 1)),
    (0, -1, 1, 0): ((96, 64), (1, 0)),
    (-1, 0, 0, 1): ((64, 96), (0, 1)),  # a mirror
}


def check_same_frames(path, video):
    """Frames that are chosen before any is read are those that are chosen of all."""
    for settings in (QWEN25, QWEN3):
        few, chosen = read_video(path, settings=settings), sample_video(video, settings)
        assert (few.indices, few.times, few.fps, few.total) == (chosen.indices, chosen.times, chosen.fps, chosen.total)
        assert all((a == b).all() for a, b in zip(few.frames, chosen.frames, strict=True))


@pytest.mark.parametrize("matrix", TURNS)
def test_every_reader_turns_frames_as_the_container_says(tmp_path, matrix):
    path = write(tmp_path / "a.mp4", [100 * k for k in range(6)])
    set_matrix(path, *matrix)
    shape, corner = TURNS[matrix]
    source = open_source({"source": "video", "path": str(path), "every": 0.2})
    for pixels in (read_video(path).frames[3], read_frames(path, 2).frames[1], source.load(1).rgb):
        assert pixels.shape[:2] == shape and red_corner(pixels) == corner


def test_a_first_time_stamp_that_is_not_zero_repeats_nothing(tmp_path):
    path = write(tmp_path / "late.mkv", [5000 + 100 * k for k in range(20)])
    source = open_source({"source": "video", "path": str(path), "every": 0.5})
    assert [source.item_id(k) for k in range(len(source))] == [f"late.mkv#t={t:.3f}" for t in (0, 0.5, 1, 1.5)]
    assert [grey(source.load(k).rgb) for k in range(4)] == [0, 5, 10, 15]
    assert read_video(path).fps == pytest.approx(10) and read_video(path).times is None, "whatever the header says"


SLIDES = [0, 100, 200, 300, 400, 4000, 8000]  # five quick frames, then two that stay


def test_variable_rates_are_told_by_true_times(tmp_path):
    path = write(tmp_path / "slides.mkv", SLIDES)
    video = read_video(path)
    assert video.times == pytest.approx([t / 1000 for t in SLIDES])
    shown = sample_video(video, QWEN3)
    assert timestamps(shown, QWEN3)[-1] > 5 and shown.times[-1] == pytest.approx(8.0)
    even = sample_video(video, QWEN25)
    assert len(even) == 6 and even.indices == (0, 4, 4, 5, 5, 5), "the frame that is on the screen at even times"
    check_same_frames(path, video)
    chosen = read_frames(path, 3)
    assert chosen.indices == (0, 3, 6) and chosen.times == pytest.approx((0, 0.3, 8.0))
    source = open_source({"source": "video", "path": str(path), "every": 1.0})
    assert [source.item_id(k).partition("=")[2] for k in range(len(source))] == ["0.000", "0.400", "4.000", "8.000"]
    assert [grey(source.load(k).rgb) for k in range(4)] == [0, 4, 5, 6] and source.load(2).meta["time"] == 4.0


def test_times_that_a_damaged_file_makes_up_cost_nothing():
    timing = Timing((0.0, 0.1, 0.2, 0.5, 1e12), None, True)
    assert timing.shown_every(0.2)[:3] == [0, 2, 3]
    assert Timing((0.0, 0.1, 0.2), None, False).shown_every(0.1) == [0, 1, 2]


def test_constant_rates_keep_their_numbers(tmp_path):
    video = read_video(write(tmp_path / "a.mp4", [40 * k for k in range(50)]))
    assert video.times is None and video.fps == pytest.approx(25) and len(video) == video.total == 50
    assert sample_video(video, QWEN25).indices == (0, 12, 25, 37)
    check_same_frames(tmp_path / "a.mp4", video)


def test_cut_off_and_damaged_clips_give_what_is_left_and_say_so(tmp_path, caplog):
    path = write(tmp_path / "whole.mkv", [100 * k for k in range(40)], size=(320, 240), gop=5)
    data = path.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    broken = bytearray(data)
    broken[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    (tmp_path / "broken.mkv").write_bytes(broken)
    for name in ("cut.mkv", "broken.mkv"):
        video = read_video(tmp_path / name)
        assert 10 < len(video) < 40 or name == "broken.mkv"
        assert len(read_frames(tmp_path / name, 8)) == 8, "chosen among the frames that are there"
        source = open_source({"source": "video", "path": str(tmp_path / name), "every": 0.1})
        assert len(source) <= 40
        for k in range(len(source)):
            try:
                assert source.load(k).rgb.shape == (240, 320, 3)
            except BadItem as error:
                assert "cannot be decoded at" in str(error)
    (tmp_path / "head.mp4").write_bytes(write(tmp_path / "x.mp4", [0, 100]).read_bytes()[:300])
    for read in (clip_timing, read_clip):
        with pytest.raises(ClipError):
            read(tmp_path / "head.mp4")
    with pytest.raises(ClipError, match="not a file but"):
        read_clip(tmp_path)


def test_a_clip_of_one_frame(tmp_path):
    path = write(tmp_path / "one.mp4", [0])
    assert len(read_video(path)) == 1 and read_frames(path, 8).indices == (0,)
    assert len(open_source({"source": "video", "path": str(path)})) == 1


@pytest.mark.parametrize(
    "facts",
    [{"fps": 0}, {"fps": float("nan")}, {"fps": "30"}, {"fps": -1}, {"indices": (0,)}, {"total": 1}]
    + [{"indices": (3, 1)}, {"times": (0.0, float("inf"))}, {"times": (1.0, 0.5)}],
)
def test_impossible_numbers_of_a_clip_are_one_line(facts):
    with pytest.raises(ImageError):
        Video([b"", b""], **facts)


def test_a_records_times_reach_the_model():
    timed = question_sets.record(0, meta='{"video": {"times": [0.0, 9.5], "indices": [0, 3]}}')
    assert timestamps(Video([b"", b""], **video_facts(timed)), QWEN3) == [4.75]
    with pytest.raises(ValueError, match="times of the record's video is no list"):
        video_facts(question_sets.record(0, meta='{"video": {"times": 5}}'))


def test_a_folder_of_frames_is_in_order_and_its_rate_is_said(tmp_path, capsys):
    for k in (1, 2, 10, 11):
        Image.new("RGB", (32, 32), (k, k, k)).save(tmp_path / f"{k}.png")
    assert [p.rsplit("/", 1)[1] for p in as_video(tmp_path).frames] == ["1.png", "2.png", "10.png", "11.png"]
    conversation = Conversation.__new__(Conversation)
    conversation.videos = [str(tmp_path), "clip.mp4"]
    conversation.options, conversation.asking = Options(), UNKNOWN
    assert conversation._clips()[1] == "clip.mp4"
    assert "4 frames, taken as 24 a second; --fps says otherwise" in capsys.readouterr().err
    conversation.options = Options(fps=2.0)
    assert conversation._clips()[0].fps == 2.0 and capsys.readouterr().err == ""

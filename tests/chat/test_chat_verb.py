"""The chat verb: its stream is the greedy answer, later turns continue by token id, boxes land on the picture, output
stays harmless.
"""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from spatial_jax import chat
from spatial_jax.data.asked import Asking
from spatial_jax.models import (
    ModelConfig,
    QwenVL,
    TextConfig,
    VisionConfig,
    load_pretrained,
    save_pretrained,
    split_model,
)
from spatial_jax.processing import Processor, train_tokenizer
from spatial_jax.rollout import Engine, Trajectory, extend
from spatial_jax.rollout.stream import Stream
from spatial_jax.rollout.types import SamplingParams

TEXTS = ["Which is closer, the cup or the box? Give the box as [10, 20, 30, 40].", "You are a helpful assistant."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy")
    ids = train_tokenizer(TEXTS * 40, 400, path, max_pixels=30 * 28 * 28)
    text = TextConfig(ids.pop("vocab_size"), 32, 64, 2, 4, 2, 8, 1e-6, 1e6, (1, 1, 2), initializer_range=0.5)
    vision = VisionConfig(
        "qwen2_5_vl", 1, 32, 32, 2, 32, "silu", 14, window_size=112, full_attention_blocks=(0,), tokens_per_second=2.0
    )
    config = ModelConfig("qwen2_5_vl", text, vision, False, **ids)
    save_pretrained((config, split_model(QwenVL(config, rngs=nnx.Rngs(1)))[1]), path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)).save(path / "a.png")
    return path


def test_stream_and_second_turn(folder, capsys):
    processor, policy = Processor.from_pretrained(folder), load_pretrained(folder)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which is closer?"}]}]
    expected = policy.greedy(
        **processor(messages, [str(folder / "a.png")]), max_new_tokens=10, banned_ids=processor.banned_ids
    )[0].tolist()
    prompt = processor.encode(messages, [str(folder / "a.png")])
    sampling = SamplingParams(max_new_tokens=10, temperature=0.0, banned_ids=processor.banned_ids)
    engine = Engine(policy.graphdef, policy.config, pad_id=processor.pad_id)
    chunks = list(Stream(engine, policy.params, sampling).begin(prompt))
    assert [token for chunk in chunks for token in chunk] == expected and [len(chunk) for chunk in chunks] == [
        1,
        4,
        4,
        1,
    ]

    conversation = chat.Conversation(processor, policy, Asking("vanilla", max_new_tokens=10))
    conversation.images = [str(folder / "a.png")]
    assert chat.answer(conversation, "Which is closer?")
    ended = [i for i, token in enumerate(expected) if token in processor.eos_ids]
    assert conversation.answer == expected[: ended[0] + 1] if ended else expected
    assert capsys.readouterr().out.startswith(chat.printable(processor.decode(conversation.answer)).rstrip("\ufffd"))
    first = conversation.prompt
    before = [*first.input_ids.tolist(), *conversation.answer]
    assert chat.answer(conversation, "And now?")
    assert conversation.prompt.input_ids.tolist()[: len(before)] == before
    assert "user\nAnd now?<|im_end|>\n<|im_start|>assistant\n" in processor.decode(
        conversation.prompt.input_ids, skip_special_tokens=False
    )
    assert (np.diff(conversation.prompt.positions[0, len(first) :]) == 1).all()
    # Its cache was kept: what was new passed alone, and the answer is that of the whole conversation passed again.
    whole = Stream(engine, policy.params, sampling).begin(conversation.prompt)
    assert [token for chunk in whole for token in chunk][: len(conversation.answer)] == conversation.answer
    new = len(conversation.prompt) - len(before) + 1  # and the last token of the answer before
    assert conversation.answerer.engine.work.tokens == len(first) + new
    conversation.images = [str(folder / "missing.png")]
    assert not chat.answer(conversation, "And this?")
    assert "missing.png" in capsys.readouterr().err
    assert chat.answer(conversation, "And without it?")  # one bad picture does not end the conversation


def test_a_conversation_that_draws(folder, tmp_path, monkeypatch, capsys):
    """Each picture is saved as it is drawn; the next question is asked of the same pictures anew."""
    processor, prompts = Processor.from_pretrained(folder), []
    call = (
        '<think>t</think> Action: Object Mapper\n```json\n[{"index": 1, "bbox_2d": [5, 5, 40, 40], "label": "c"}]\n```'
    )
    final = "<think>t</think> Action: Answer\n<answer>3</answer>"
    replies = [call, call.replace('"index": 1', '"index": 2').replace("40, 40", "50, 50"), final, call, final, final]

    def scripted(stream, shown, before=None):
        prompts.append(shown)
        words, end = processor.tokenizer.encode(replies.pop(0)), [processor.tokenizer.token_id("<|im_end|>")]
        yield words
        turn = Trajectory.written([*words, *end])
        stream.said = turn if before is None else extend(before, shown, turn)
        yield end

    monkeypatch.setattr(Stream, "begin", scripted)
    monkeypatch.setattr(Stream, "go_on", lambda stream, shown: scripted(stream, shown, stream.said))
    monkeypatch.chdir(tmp_path)
    policy = SimpleNamespace(graphdef=None, config=None, params=None)
    conversation = chat.Conversation(processor, policy, Asking("drawing"))
    assert not chat.answer(conversation, "How many?") and "draws on pictures" in capsys.readouterr().err
    conversation.images = [str(folder / "a.png")]
    assert chat.answer(conversation, "How many?")
    told = capsys.readouterr().out
    assert "[picture 2 is in a.drawn2.png]" in told and "[picture 3 is in a.drawn3.png]" in told and "<answer>3" in told
    drawn = np.asarray(Image.open(tmp_path / "a.drawn3.png"))
    assert (drawn[20, 5:9] == (255, 0, 0)).all() and (drawn[20, 47:51] == (255, 0, 0)).all()
    assert [len(p.model_sizes) for p in prompts] == [1, 1, 1]
    assert chat.answer(conversation, "And now?") and len(prompts[-1].model_sizes) == 1
    # Its drawings are files of its own.
    assert "[picture 2 is in a.question2.drawn2.png]" in capsys.readouterr().out
    assert (np.asarray(Image.open(tmp_path / "a.drawn2.png"))[20, 37:41] == (255, 0, 0)).all()
    # Of a long clip some frames are pictures, not all of them.
    for i in range(40):
        (tmp_path / "walk").mkdir(exist_ok=True)
        Image.new("RGB", (56, 56), (i, i, i)).save(tmp_path / "walk" / f"{i}.png")
    conversation.images, conversation.videos = [], [str(tmp_path / "walk")]
    assert chat.answer(conversation, "And here?") and len(prompts[-1].model_sizes) == 16
    assert "16 of 40 frames are pictures 1 to 16]" in capsys.readouterr().err
    few = chat.Conversation(Processor.from_pretrained(folder, frames=4), policy, Asking("vanilla", frames=4))
    few.videos = [str(tmp_path / "walk")]
    assert len(few._clips()[0]) == 4, "as many as were asked for, of a folder too"


def test_several_pictures_a_video_and_commands_in_one_conversation(folder, capsys, monkeypatch):
    for i in range(4):
        (folder / "walk").mkdir(exist_ok=True)
        Image.new("RGB", (84, 84), (60 * i, 90, 30)).save(folder / "walk" / f"{i:03}.png")
    lines = iter(
        [
            f"/image {folder / 'a.png'}",
            f"/image {folder / 'a.png'}",
            "What differs?",
            f"/video {folder / 'walk'}",
            "What moved?",
            "/dance",
            "/image",
            f"/image {folder / 'none.png'}",
            "And here?",
            "Still there?",
            "/reset",
            "/help",
            "/quit",
        ]
    )
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    processor = Processor.from_pretrained(folder, max_pixels=12 * 28 * 28)
    conversation = chat.Conversation(processor, load_pretrained(folder), Asking("vanilla", max_new_tokens=4))
    asked = []
    monkeypatch.setattr(
        conversation,
        "reset",
        lambda original=conversation.reset: (asked.append(conversation.prompt.input_ids.tolist()), original()),
    )
    chat.talk(conversation)
    ids, config = asked[0], conversation.policy.config
    runs = [t for t, previous in zip(ids, [None, *ids]) if t != previous]
    assert runs.count(config.image_token_id) == 2 and runs.count(config.video_token_id) == 1
    said = processor.decode(ids, skip_special_tokens=False)
    assert [q in said for q in ("What differs?", "What moved?", "Still there?", "And here?")] == [
        True,
        True,
        True,
        False,
    ]
    out = capsys.readouterr()
    assert "/dance is not a command" in out.out and "none.png" in out.err and conversation.prompt is None


def test_the_shipped_policy_answers_from_the_command_line(tmp_path):
    picture = np.zeros((112, 112, 3), np.uint8)
    picture[40:80, 10:50] = (220, 30, 30)
    Image.fromarray(picture).save(tmp_path / "a.png")
    command = [
        sys.executable,
        "-m",
        "spatial_jax.chat",
        "--model=configs/quickstart_policy",
        f"--image={tmp_path}/a.png",
        "--question=Is the red box on the left or the right?",
        f"--out={tmp_path}/boxes.png",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0 and done.stdout.strip() in ("left", "right"), (done.stdout, done.stderr)
    assert "asked as it was trained: prompt_mode bare, system '', min_pixels 784, max_pixels 12,544" in done.stderr
    command[4] = f"--image={tmp_path}/b.png"
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert done.returncode == 2 and done.stderr.strip().split("\n")[-1].startswith("chat: ")


def test_boxes_are_drawn_where_the_model_means_them(folder):
    picture = folder / "a.png"
    drawn = chat.draw_boxes("The cup is at [28, 14, 56, 42].", str(picture), (112, 56), "pixels")
    changed = np.argwhere((np.asarray(drawn) != np.asarray(Image.open(picture))).any(-1))
    assert drawn.size == (100, 60) and changed.min(0).tolist() == [15, 25] and changed.max(0).tolist() == [45, 50]
    in_thousandths = chat.draw_boxes("(250, 250), (500, 750)", str(picture), (112, 56), "thousandths")
    assert (np.asarray(in_thousandths) == np.asarray(drawn)).all()
    assert chat.draw_boxes("No box, [1, 2, 3].", str(picture), (112, 56), "pixels") is None
    assert chat.draw_boxes("[-90, -90, -10, -10] [999, 0, 2000, 9]", str(picture), (112, 56), "pixels") is None


def test_the_terminal_is_not_steered():
    assert chat.printable("a\x1b[2J\x07b\n\tc\u202e日") == "a[2Jb\n\tc日"

"""Benchmarks asked in a response form: what is asked, how much room there is, what is read, what the result says."""

import dataclasses
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from spatial_jax.data.asked import Asking
from spatial_jax.evals import get_benchmark
from spatial_jax.evals.page import write_page
from spatial_jax.evals.protocol import choose_protocol, unparsed_kinds
from spatial_jax.evals.results import result_table
from spatial_jax.evals.runner import run_benchmark
from spatial_jax.evals.scoring import evaluate_responses
from spatial_jax.evals.settings import PUBLISHED, EvalSettings, PolicySettings, SamplingSettings

SIZE = (56, 84)


def picture():
    out = io.BytesIO()
    Image.fromarray(np.zeros((SIZE[1], SIZE[0], 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def item(i=0, answer="(A)"):
    return {
        "id": str(i),
        "idx": i,
        "type": "2D",
        "task": "Count",
        "source": "ADE20K",
        "question": "How many chairs are there?",
        "choices": ["2", "3"],
        "answer": answer,
        "prompt": "How many chairs are there? Select from the following choices.\n(A) 2\n(B) 3",
        "images": [picture()],
    }


class Canned:
    """A sampler that answers every request with one text, and keeps what it was asked."""

    def __init__(self, asking, text="", remembers=True, finish="stop"):
        self.asking, self.text, self.remembers, self.finish = asking, text, remembers, finish
        self.name, self.weights, self.asked, self.tokens = "policy", "0f", [], {"passed": 0, "distinct": 0}
        self.engine = SimpleNamespace(answer_buckets=(32, 2048))
        self.answerer = SimpleNamespace(drawing=None)
        limits = SimpleNamespace(min_pixels=784, max_pixels=12544)
        self.processor = SimpleNamespace(
            image_settings=limits,
            video_settings=SimpleNamespace(image=limits),
            model_size=lambda width, height: (width, height),
            encode=lambda messages, images=(), videos=(), **_: (
                self.asked.append((messages, images, videos)) or "prompt"
            ),
        )

    def sampling_of(self, chosen, max_new_tokens):
        self.told = {"max_new_tokens": max_new_tokens}

    def respond(self, requests, samples, sampling, log=None, progress=None):
        self.shown = [request.encode() for request in requests]
        row = {"responses": [self.text], "finish": [self.finish], "lengths": [9]}
        return {request.id: {"id": request.id, **row} for request in requests}


def settings(**policy):
    return EvalSettings(PolicySettings(**policy), SamplingSettings())


def texts(sampler):
    return "".join(part.get("text", "") for part in sampler.asked[0][0][-1]["content"])


@pytest.mark.parametrize(("letter", "score"), [("A", 1.0), ("B", 0.0)])
def test_a_policy_is_asked_on_a_benchmark_as_it_was_trained(letter, score):
    sampler = Canned(Asking("think_answer", "Look.", 700), f"<think>It is (B).</think><answer>{letter}</answer>")
    result = run_benchmark(sampler, "cv_bench", [item()], settings())
    assert result["metrics"]["accuracy"] == score and result["form"] == "think_answer"
    official = get_benchmark("cv_bench").prompt(item(), "official")
    assert texts(sampler).startswith(official.replace("<image>", "")) and "<think></think>" in texts(sampler)
    assert sampler.asked[0][0][0] == {"role": "system", "content": "Look."}
    assert sampler.told["max_new_tokens"] == 700
    assert "response form think_answer" in result["protocol"] and "700 new tokens" in result_table(result)


def test_published_is_one_flag_away():
    sampler = Canned(Asking("think_answer", "Look.", 700), "(A)")
    result = run_benchmark(sampler, "cv_bench", [item()], settings(prompt_mode=PUBLISHED))
    assert result["metrics"]["accuracy"] == 1 and result["form"] == PUBLISHED
    assert len(sampler.asked[0][0]) == 1 and "<think>" not in texts(sampler)
    assert sampler.told["max_new_tokens"] == get_benchmark("cv_bench").max_new_tokens
    assert "as published" in result_table(result)


def test_a_checkpoint_that_does_not_say_is_asked_as_published():
    sampler = Canned(Asking("vanilla"), "(A)", remembers=False)
    assert run_benchmark(sampler, "cv_bench", [item()], settings())["form"] == PUBLISHED
    told = dataclasses.replace(sampler.asking, prompt_mode="think_boxed")
    protocol = choose_protocol(
        Canned(told, remembers=False), get_benchmark("cv_bench"), settings(prompt_mode="think_boxed")
    )
    assert (protocol.form, protocol.max_new_tokens) == ("think_boxed", 1024)


def test_drawing_numbers_the_pictures_and_hands_them_over():
    sampler = Canned(Asking("drawing", turns=4), "<think>two</think> Action: Answer\n<answer>A</answer><|im_end|>")
    result = run_benchmark(sampler, "cv_bench", [item()], settings())
    assert result["metrics"]["accuracy"] == 1
    assert "index of the given image is 1 (width: 56, height: 84)" in texts(sampler)
    assert "Object Mapper" in sampler.asked[0][0][0]["content"]
    assert [p.size for p in sampler.shown[0][2]] == [SIZE]


def test_frames_leave_pictures_to_draw(caplog):
    sampler, long = Canned(Asking("drawing"), ""), get_benchmark("vsi_super_count")
    assert choose_protocol(sampler, get_benchmark("vsi_bench"), settings()).frames == 32
    assert choose_protocol(sampler, long, settings()).frames == 16 and "128 frames leave none" in caplog.text
    told = dataclasses.replace(settings(), sampling=dataclasses.replace(settings().sampling, frames=45))
    with pytest.raises(ValueError, match="45 frames leave none of a conversation's 45 pictures to draw; set"):
        choose_protocol(sampler, long, told)


def test_what_was_not_read_is_told_by_kind(tmp_path):
    rows = {
        "0": {"responses": ["<think>two chairs"], "finish": ["length"]},
        "1": {"responses": ["A"], "finish": ["stop"]},
        "2": {"responses": [""], "finish": ["stop"]},
        "3": {"responses": ["<think>x</think><answer>A</answer>"], "finish": ["stop"]},
    }
    items = [item(i) for i in range(4)]
    result = evaluate_responses("cv_bench", items, rows, form="think_answer")
    counts = {kind: entry["count"] for kind, entry in result["unparsed"].items()}
    assert counts == {"cut off before an answer": 1, "not in the form think_answer": 1, "empty": 1}
    assert result["unparsed"]["not in the form think_answer"]["examples"] == [{"id": "1", "text": "A"}]
    assert "not read: 1 not in the form think_answer, such as 1: 'A'" in result_table(result)
    page = write_page(result, tmp_path / "page.html").read_text()
    assert "Not read: 1 cut off before an answer" in page
    assert unparsed_kinds([("x", "hm", False, False)], None) == {
        "no answer of the question's kind": {"count": 1, "examples": [{"id": "x", "text": "hm"}]}
    }


def test_cut_off_answers_are_counted_and_told():
    sampler = Canned(Asking("think_answer"), "<think>two chairs", finish="length")
    result = run_benchmark(sampler, "cv_bench", [item()], settings())
    assert result["cut_off"] == 1 and "cut off: 1 answers" in result_table(result)

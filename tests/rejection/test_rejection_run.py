"""The verb from questions to a dataset that trains, with a teacher whose replies are made here: kept answers are what
was said, in several shares, resumed, and what came out empty is an error.
"""

import json
import shutil

import pytest
import question_sets

from data_prep.synthesis.dataset import write_questions
from spatial_jax import sample
from spatial_jax.data import open_questions
from spatial_jax.data.prompts import target_text
from spatial_jax.data.records import resolve
from spatial_jax.data.sampled import rejected_reply, taught_ids, turns_before
from spatial_jax.drawing import parse
from spatial_jax.endpoints import ChatEndpoint, EndpointError, Reply
from spatial_jax.rejection.sources import shown_records
from spatial_jax.rl.pass_rates import read_pass_rates

BOX = (
    "<think> I {what} the cup. </think> Action: Object Mapper\n```json\n"
    '[{{"index": {index}, "bbox_2d": [7, 14, {x}, 56], "label": "cup"}}]\n```'
)
SENT = []


def reply(endpoint, messages, *, seconds, max_tokens, temperature, seed, **more):
    """A first box, the same box corrected on the picture that came back, then an answer that is right or not."""
    SENT.append(messages)
    TOLD.append(more)
    if FAILS:
        raise EndpointError("HTTP 503")
    text = str(messages)
    if "numbered pictures" in text[:400]:
        said = sum(m["role"] == "assistant" for m in messages)
        if said < 2:
            if ODD and not said:
                return Reply(BOX.split("[{{")[0].format(what="box") + ODD[0] + "\n```")
            return Reply(BOX.format(what="box" if not said else "move the box of", index=said + 1, x=20 + 15 * said))
        answer = "cup" if seed % 2 else "nothing"
        return Reply(f"<think> It is seen. </think> Action: Answer\n<answer>{answer}</answer>", bool(CUTS))
    return Reply("cup" if seed % 2 else "a lamp", bool(CUTS))


FAILS, CUTS, ODD, TOLD = [], [], [], []


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rejection") / "questions"
    records = [
        question_sets.record(
            i,
            answer="cup",
            question="What is it?",
            question_type="word",
            options=(),
            meta="{}",
            reward='{"kind": "word"}',
        )
        for i in range(6)
    ]
    write_questions(str(folder), {}, records)
    return folder


@pytest.fixture
def teacher(monkeypatch):
    for seen in (SENT, FAILS, CUTS, ODD, TOLD):
        seen.clear()
    monkeypatch.setattr(ChatEndpoint, "complete", reply)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def run(questions, out, *more):
    return sample.main(
        [
            "--endpoint=http://localhost:1/v1",
            "--endpoint_model=teacher",
            f"--dataset={questions}",
            f"--out={out}",
            *more,
        ]
    )


def kept(out):
    source = open_questions(out, "train")
    return [source[i] for i in range(len(source))]


def test_drawn_answers_are_kept_as_operations(questions, tmp_path, teacher, capsys):
    out = tmp_path / "drawn"
    asked = ("--prompt_mode=drawing", "--samples=4", "--keep=reflective", "--set=policy.max_pixels=6272")
    assert run(questions, out, *asked) == 0
    told = capsys.readouterr().out
    records = kept(out)
    assert records and "wrong" in told and "100.0% are reflective; ended by: answer 24" in told
    for record in records:
        turns = turns_before(record)
        assert len(turns) == 2 and "{x:" in turns[0] and "cup" in target_text(record, "drawing")
        # What the teacher wrote comes back in the pixels that it saw.
        sizes = [tuple(s) for s in json.loads(record.meta)["sampled"]["sizes"]]
        shown = turns_before(resolve(record, sizes))
        assert [json.loads(t.split("```json")[1].split("```")[0])[0]["bbox_2d"] for t in shown] == [
            [7, 14, 20, 56],
            [7, 14, 35, 56],
        ]
    rates = read_pass_rates(out / "pass_rates.jsonl")
    assert len(rates) == 6 and sum(r["pass_k"] for r in rates) >= len(records)
    # The same again sends nothing, and says the same.
    sent = len(SENT)
    assert run(questions, out, *asked) == 0 and len(SENT) == sent
    other = capsys.readouterr()
    assert run(questions, out, *asked[:2], "--keep=cold_start", asked[3]) == 2
    assert "holds a dataset of other settings" in capsys.readouterr().err and other


def test_shares_and_a_stopped_run_write_the_same(questions, tmp_path, teacher, capsys):
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert run(questions, whole, "--samples=3", "--keep=correct") == 0
    FAILS.append(1)
    assert run(questions, shared, "--samples=3", "--keep=correct", "--share=0/2") == 2
    assert "answered none of 3 questions" in capsys.readouterr().err
    FAILS.clear()
    assert run(questions, shared, "--samples=3", "--keep=correct", "--share=0/2") == 0
    assert "3 of 6 questions are answered" in capsys.readouterr().out and not shared.exists()
    assert run(questions, shared, "--samples=3", "--keep=correct", "--share=1/2") == 0
    assert {r.question_id: r.meta for r in kept(shared)} == {r.question_id: r.meta for r in kept(whole)}
    # Another rule over the same answers finds them by their shares, or says so before all is asked again.
    sent, again = len(SENT), ("--samples=3", "--keep=best", f"--answers={shared}.answers")
    assert run(questions, tmp_path / "best", *again) == 2
    assert "holds answers of 2 share(s): go on with --share=0/2" in capsys.readouterr().err
    assert run(questions, tmp_path / "best", *again, "--share=0/2") == 0 and len(SENT) == sent


@pytest.mark.parametrize("mode", ["vanilla", "drawing"])
def test_replies_that_the_endpoint_cut_off_are_not_kept(questions, tmp_path, teacher, capsys, mode):
    CUTS.append(1)
    for _ in range(2):  # asked, then from the cache
        assert run(questions, tmp_path / mode, "--samples=3", "--keep=correct", f"--prompt_mode={mode}") == 2
        assert "no answer is kept (18 cut off at the token limit)" in capsys.readouterr().err


def test_pairs_are_what_dpo_rejects(questions, tmp_path, teacher):
    out = tmp_path / "pairs"
    assert run(questions, out, "--samples=6", "--keep=pairs") == 0
    assert all(rejected_reply(r) == "a lamp" and target_text(r, "vanilla") == "cup" for r in kept(out))
    with pytest.raises(ValueError, match="sampled in the form 'vanilla'"):
        taught_ids(kept(out)[0], [], None, "think_answer")


@pytest.mark.parametrize(
    "more, words",
    [
        (("--keep=score=9",), "no answer is kept (18 reward not above 9"),
        (("--keep=steps=2",), "steps=2: an answer has one turn in this form"),
        (("--keep=steps=11", "--prompt_mode=drawing"), "steps=11: an answer has at most 10 turns"),
        (("--keep=reflective",), "reflective is of answers that draw"),
        (("--keep=pairs", "--samples=1"), "give --samples=2 or more"),
        (("--keep=pairs", "--prompt_mode=drawing", "--dry_run"), "DPO learns answers of one turn"),
        (("--keep=most=inf",), "most=inf: a whole number of 1 or more"),
        (("--keep=rate_min=nan",), "rate_min=nan: a share from 0 to 1"),
        (("--keep=rate_min=0.9,rate_max=0.1",), "no pass rate is both"),
        (("--keep=best,most=3",), "most is asked for twice"),
        (("--keep=pairs=-1",), "pairs=-1: a number of 0 or more"),
        (("--set=sampling.temperature=0.3",), "give --temperature=0.3"),
        (("--set=sampling.top_k=5",), "chat completions know no top_k"),
        (("--set=sampling.frames=4",), "a teacher is shown all frames"),
        (("--limit=-3",), "--limit=-3: 0 for all questions"),
        (("--endpoint_seconds=0",), "--endpoint_seconds=0: a number of seconds above 0"),
        (("--share=2/2",), "--share=2/2"),
        (("--keep=best", "--set=engine.slots=3"), "config.engine.slots is not a key"),
        (("--endpoint=",), "give --model=DIR or --endpoint=URL"),
        (("--endpoint=", "--model=d"), "--endpoint_model does nothing with --model"),
        (("--config=spatial_jax/shipped.py",), "--config=spatial_jax/shipped.py: KeyError: 'get_config'"),
        (("--config=configs/eval_spatial.py:no_such",), "--config=configs/eval_spatial.py:no_such: "),
        (("--split=nowhere",), "nowhere"),
    ],
)
def test_what_cannot_run_is_one_line(questions, tmp_path, teacher, capsys, more, words):
    out = tmp_path / "none"
    assert run(questions, out, "--samples=3", *more) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert words in told[-1] and not out.exists()
    assert "no answer is kept" in words or not SENT  # what cannot come out is not paid for


@pytest.mark.parametrize(
    "odd",
    [
        '[{"index": 1, "bbox_2d": [7, 14, 20, 56], "label": "cup"}, {"crop_2d": [1, 2, 30, 40], "label": "z"}]',
        '[{"index": 1, "bbox_2d": ["a", 2], "start_point_2d": [1, 2], "end_point_2d": [3, 4], "label": "cup"}]',
        "[{'index': 1, 'bbox_2d': [7, 14, 20, 56], 'label': 'cup', 'note': b'x', 3: None}, b'x', {1, 2}]",
    ],
    ids=["a tool that is not offered", "numbers as text beside a line", "Python that JSON cannot say"],
)
def test_turns_with_more_than_calls_are_kept_and_draw_the_same(questions, tmp_path, teacher, odd):
    ODD.append(odd)
    asked = ("--prompt_mode=drawing", "--samples=2", "--keep=correct", "--limit=3", "--set=policy.max_pixels=6272")
    assert run(questions, tmp_path / "odd", *asked) == 0
    for record in kept(tmp_path / "odd"):
        sizes = [tuple(size) for size in json.loads(record.meta)["sampled"]["sizes"]]
        assert parse(turns_before(resolve(record, sizes))[0]) == parse(f"```json\n{odd}\n```")


def test_pass_rates_of_other_answers_are_not_overwritten(questions, tmp_path, teacher, capsys):
    """Of another draw, or of other questions of as many: refused before anything is asked, as a dataset is."""
    out, asked = tmp_path / "rates", ("--keep=pass_rates", "--samples=2", "--limit=3")
    assert run(questions, out, *asked) == 0 and run(questions, out, *asked) == 0
    before, sent = (out / "pass_rates.jsonl").read_text(), len(SENT)
    elsewhere = f"--answers={tmp_path / 'elsewhere'}"
    for rule in ("pass_rates", "best"):
        assert run(questions, out, f"--keep={rule}", *asked[1:], "--seed=1", elsewhere) == 2
        assert "holds pass rates of other settings (teacher: " in capsys.readouterr().err
    few = tmp_path / "few"
    write_questions(str(few), {}, kept(questions)[3:])
    assert run(few, out, *asked, elsewhere, f"--dataset={few}") == 2
    assert "holds pass rates of other settings (dataset: " in capsys.readouterr().err
    assert (out / "pass_rates.jsonl").read_text() == before and len(SENT) == sent
    (out / "pass_rates.jsonl").write_text("".join(before.splitlines(keepends=True)[1:]))
    assert run(questions, out, *asked) == 2
    assert "that do not say what they are of; choose another --out or remove it" in capsys.readouterr().err


def test_other_questions_of_as_many_are_another_run(questions, tmp_path, teacher, capsys):
    """They counted alike, so answers and dataset of the first were taken for theirs."""
    here = tmp_path / "here"
    write_questions(str(here), {}, kept(questions)[:3])
    assert run(here, tmp_path / "out", "--samples=2", "--keep=best") == 0
    shutil.rmtree(here)
    write_questions(str(here), {}, kept(questions)[3:])
    assert run(here, tmp_path / "out", "--samples=2", "--keep=best", f"--answers={tmp_path / 'elsewhere'}") == 2
    assert "holds a dataset of other settings" in capsys.readouterr().err


def test_a_teacher_is_asked_within_top_p(questions, tmp_path, teacher, capsys):
    assert run(questions, tmp_path / "narrow", "--samples=3", "--keep=correct", "--top_p=0.5") == 0
    assert TOLD and all(told == {"top_p": 0.5} for told in TOLD)
    assert "were answered before" not in capsys.readouterr().out


def test_frames_that_cannot_be_chosen_are_counted(questions, caplog):
    records = kept(questions)

    def shown(record):
        if record is records[0]:
            raise ValueError("the clip's rate is not told")
        return record

    assert shown_records(records, shown) == records[1:] and "1 of 6 questions left out: the clip's" in caplog.text
    with pytest.raises(ValueError, match="no question can be asked: the clip's rate"):
        shown_records(records[:1], shown)


def test_a_dry_run_sends_nothing(questions, tmp_path, teacher, capsys):
    assert run(questions, tmp_path / "dry", "--dry_run", "--samples=2", "--prompt_mode=drawing") == 0
    told = capsys.readouterr().out
    assert not SENT and "6 questions, 12 answers, 12 to 120 requests" in told and "Object Mapper" in told

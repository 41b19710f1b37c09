"""The report page from fabricated run directories: complete, broken, compared, and hostile."""

import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from spatial_jax.data.records import QuestionRecord
from spatial_jax.evals.comparison import compare
from spatial_jax.evals.results import ScoredItem, summarise, write_result
from spatial_jax.metrics import Console, MetricsWriter, write_gallery, write_pass_rates
from spatial_jax.metrics.report import build_report, load_run, read_story, story
from spatial_jax.metrics.report.results import column_labels, headline, overall, prior_of
from spatial_jax.metrics.report.runs import Phase, config_difference, title_of
from spatial_jax.report import main

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.handlers = [], []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.names.append(name)
        self.handlers += [key for key, _ in attributes if key.startswith("on")]


def png(size=(40, 30)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def question(**changes):
    values = {
        "question_id": "q1",
        "source": "rendered",
        "split": "heldout",
        "scene_id": "s1",
        "images": (png(),),
        "widths": (40,),
        "heights": (30,),
        "question": "Box of the ball?",
        "question_type": "box",
        "answer": "[4, 3, 20, 15]",
        "family": "box",
        "meta": '{"margin": 2.5}',
        **changes,
    }
    return QuestionRecord(**values).as_dict()


def answers(*rewards):
    mean = sum(rewards) / len(rewards)
    return [
        {
            "text": f"[4, 3, {20 + i}, 15]",
            "reward": r,
            "advantage": r - mean,
            "correct": r > 0.5,
            "finish_reason": "stop",
            "length": 9,
        }
        for i, r in enumerate(rewards)
    ]


def result(p, kind="sampled", name="x"):
    items = [
        ScoredItem(
            str(i),
            ("box", name)[i % 2],
            f"s{i}",
            (float(i % 10 < 10 * p),) * 4,
            (float(i % 10 < 10 * p),) * 4,
            ("x",) * 4,
        )
        for i in range(60)
    ]
    return summarise(
        "heldout",
        items,
        scoring="official",
        extra={"sampling": {"temperature": float(kind == "sampled")}, "prior": {"constant": 0.2}},
    )


@pytest.fixture
def run(tmp_path):
    return made_run(tmp_path / "quick")


def made_run(root):
    """A quickstart-like directory: two phases, three evaluations, galleries, a pass-rate map."""
    for phase, names in (
        ("sft", ("loss", "accuracy")),
        ("grpo", ("reward/mean", "entropy", "kl/reference", "time/step", "time/rollout")),
    ):
        with MetricsWriter(root / phase, ("jsonl",), clock=lambda p=phase: 1.0 + (p == "grpo")) as writer:
            for step in range(20):
                row = dict.fromkeys(names, 0.1 + 0.01 * step) | {
                    "pass_rate/box": 0.5,
                    "reward/box": 0.4,
                    "loss": float(step == 3),
                }
                writer.write(step, row)
        (root / phase / "config.json").write_text(json.dumps({"optimizer": {"learning_rate": 1e-3}}))
    write_pass_rates(
        root / "grpo",
        19,
        [{"id": "a", "family": "box", "rate": r, "n": 4, "state": "active"} for r in (0.0, 0.25, 0.5, 1.0)],
    )
    write_gallery(
        root / "grpo",
        19,
        [{"record": question(split="train", question_id="t"), "answers": answers(1.0, 1.0), "phase": "grpo"}],
    )
    for step, (phase, reward) in enumerate((("before", 0.0), ("after_sft", 0.5), ("after_grpo", 1.0))):
        write_gallery(root, step, [{"record": question(), "answers": answers(reward, 0.2), "phase": phase}])
        write_result(root / "eval" / f"{phase}.json", result(0.2 + 0.3 * step))
    return root


def test_whole_page(run):
    page = build_report(
        [load_run(run)],
        title="Quickstart",
        compare=compare,
        story=[{"title": "Cold start", "command": "make sft", "seconds": 61}],
        next_commands=["make more"],
    ).html()
    for text in (
        "Quickstart",
        "Training: SFT",
        "Training: GRPO",
        "Before SFT",
        "After GRPO",
        "Pass-rate map",
        "Mean reward",
        "KL to the reference",
        "make sft",
        "make more",
        "a gain: the paired 95 % interval lies above 0",
        "Box of the ball?",
        "Training gallery",
        "all the same: no gradient",
        "2 of 4 questions are solved always or never",
    ):
        assert text in page, text
    assert page.count('class="box answer') + page.count('class="box wrong') >= 6 and "data-pane" in page
    assert Tags(page).names.count("script") == 1


def test_metrics_that_cannot_move_are_marked_and_settling_is_no_alarm(tmp_path):
    settings = {"train": {"method": "grpo", "prompts": 8, "update_prompts": 8}, "rollout": {"temperature": 1.0}}
    for method, sampled in (("grpo", {"reward/mean": 0.5, "clip/fraction": 0.0}), ("sft", {})):
        with MetricsWriter(tmp_path / method, ("jsonl",)) as writer:
            for step in range(40):
                writer.write(step, {"loss": 1.0, "entropy": 2.0 * 0.8**step} | sampled)
        settings["train"]["method"] = method
        (tmp_path / method / "config.json").write_text(json.dumps(settings))
    page = build_report([load_run(tmp_path / "grpo")]).html()
    assert "Clip fraction (cannot move)" in page and "clip/fraction cannot move in this run: each rollout" in page
    assert "Entropy collapse" in page and "raise the upper clip" not in page
    page = build_report([load_run(tmp_path / "sft")]).html()
    assert "ntropy collapse" not in page and "cannot move" not in page


def test_the_console_leaves_out_what_cannot_move(tmp_path, capsys):
    with MetricsWriter(tmp_path, ("console",), console=Console(steady=("clip/fraction",), table_every=2)) as writer:
        for step in range(4):
            writer.write(step, {"loss": 0.5, "clip/fraction": 0.0})
    out = capsys.readouterr().out
    assert "loss" in out and "clip" not in out.lower()


def test_verb_writes_the_page_and_says_where(run, capsys):
    assert main([str(run)]) == 0 and (run / "report.html").exists() and "report.html" in capsys.readouterr().out
    assert main([str(run / "sft"), str(run / "grpo"), "--out", str(run / "both.html"), "--title", "KL"]) == 0
    assert "KL" in (run / "both.html").read_text()


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["/nonexistent/run"], "no such directory"),
        (["{empty}"], "nothing to report"),
        (["{run}", "--story", "/nonexistent.json"], "--story"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, tmp_path, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    assert main([a.format(run=run, empty=tmp_path / "empty") for a in arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_comparison_lays_curves_over_each_other_and_shows_what_differs(tmp_path):
    for name, rate in (("low", 1e-4), ("high", 1e-3)):
        with MetricsWriter(tmp_path / name, ("jsonl",)) as writer:
            for step in range(5):
                writer.write(step, {"reward/mean": rate * step})
        config = {"optimizer": {"learning_rate": rate}, "data": {"paths": ["runs/a", f"runs/{name}"]}, "same": 1}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        write_result(tmp_path / name / "eval" / "final.json", result(0.5 + 200 * rate))
    page = build_report([load_run(tmp_path / "low"), load_run(tmp_path / "high")], compare=compare).html()
    assert "<code>runs/a, runs/low</code>" in page and "<code>runs/a, runs/high</code>" in page
    side = page[page.index('id="side-by-side"') : page.index('id="results"')]
    assert side.count("<tr>") == 6 and ">against the first<" in side and "change good" in side
    assert "What differs" in page and "optimizer.learning_rate" in page and "<code>same</code>" not in page
    assert "low: Final" in page and "high: Final" in page and re.search(r'class="line c1"', page)


def test_damaged_files_are_named_and_the_rest_is_shown(run):
    (run / "eval" / "after_grpo.json").write_text("{")
    (run / "grpo" / "config.json").write_text("[1]")
    (run / "grpo" / "metrics.jsonl").write_text('{"step": 0, "reward/mean": 1}\n{"ste')
    (run / "gallery" / "step_000001.jsonl").write_text(
        '{"record": 5}\n{"record": {}, "answers": [5, {"text": null}]}\n'
    )
    for picture in (run / "gallery").glob("*.png"):
        picture.write_bytes(b"broken")
    page = build_report([load_run(run)]).html()
    assert (
        "after_grpo.json cannot be read" in page
        and "config.json holds no JSON object" in page
        and "picture cannot be shown" in page
    )


def test_hostile_text_in_every_field(run):
    record = question(
        question_id=EVIL,
        source=EVIL,
        scene_id=EVIL,
        question=EVIL,
        answer=EVIL,
        options=(EVIL,),
        unit=EVIL,
        family=EVIL,
        question_type=EVIL,
        meta=json.dumps({"margin": EVIL, "objects": EVIL}),
        tags=(EVIL,),
    )
    group = [{"text": EVIL, "reward": EVIL, "advantage": EVIL, "correct": EVIL, "finish_reason": EVIL, "length": EVIL}]
    write_gallery(
        run,
        5,
        [
            {"record": record, "answers": group, "phase": EVIL, "model_size": EVIL},
            {"record": {**record, "question_type": "mcq"}, "answers": answers(1.0), "phase": EVIL},
        ],
    )
    with MetricsWriter(run / "grpo", ("jsonl",)) as writer:
        writer.write(
            50,
            {
                EVIL: 1.0,
                "reward/" + EVIL: 0.5,
                "pass_rate/" + EVIL: 0.5,
                "time/" + EVIL: 0.5,
                "phase": EVIL,
                "time": EVIL,
                "text": EVIL,
            },
        )
        writer.write(51, {EVIL: 1.0, "time": EVIL})
    write_pass_rates(run / "grpo", 60, [{"id": EVIL, "family": EVIL, "rate": 0.5, "state": EVIL}])
    (run / "grpo" / "config.json").write_text(json.dumps({EVIL: {EVIL: EVIL}}))
    write_result(run / "eval" / "zz.json", {**result(0.5, name=EVIL), "benchmark": EVIL, "model": EVIL})
    story = [{"title": EVIL, "text": EVIL, "command": EVIL, "seconds": EVIL}]
    seen = Tags(build_report([load_run(run, EVIL)], title=EVIL, story=story, next_commands=[EVIL]).html())
    assert seen.names.count("script") == 1 and not seen.handlers


def test_story_file(tmp_path):
    path = tmp_path / "story.json"
    path.write_text('{"sections": [{"title": "a"}]}')
    assert read_story(path) == [{"title": "a"}]
    path.write_text('[{"text": "no title"}]')
    with pytest.raises(ValueError, match='"title"'):
        read_story(path)


def test_columns_and_headline(run):
    loaded = load_run(run)
    labels = column_labels(loaded.evaluations, ["r"] * 3)
    assert labels == ["Before SFT", "After SFT", "After GRPO"]
    cards, sentences = headline(loaded.evaluations, labels, compare)
    assert cards[0][0] == "0.80" and "+0.300" in sentences[0]
    assert overall(loaded.evaluations[0].result, "reward").value == pytest.approx(0.2)
    assert prior_of({"prior_constant": 0.1, "prior_nearest": 0.3, "prior_accuracy_x": 0.9}, "reward") == 0.3


def test_held_out_gallery_comes_from_saved_responses(run):
    """Where no gallery was written: the responses beside the results, scored again, on the pictures of the datasets."""
    from data_prep.pipeline import Outcome
    from data_prep.writer import DatasetWriter, Serializer
    from spatial_jax.data.records import question_features, to_example

    for path in (run / "gallery").iterdir():
        path.unlink()
    with DatasetWriter(str(run / "questions"), "questions", question_features(), {}) as writer:
        record = QuestionRecord(
            **{
                **{f.name: question()[f.name] for f in dataclasses.fields(QuestionRecord)},
                "question_id": "0",
                "meta": "{}",
                "reward": '{"kind": "iou"}',
                "difficulty": "{}",
                "answer": "[{x:4}, {y:3}, {x:20}, {y:15}]",
            }
        )
        writer.append(Outcome(0, "0", "record", "heldout", example=Serializer(question_features())(to_example(record))))
        writer.finish()
    for name, text in (("before", "no idea"), ("after_grpo", "[8, 6, 40, 30]")):
        row = {"id": "0", "responses": [text, "[0, 0, 1, 1]"], "model_sizes": [[80, 60]]}
        (run / "eval" / f"{name}.responses.jsonl").write_text(
            '{"settings": {}}\n' + json.dumps(row) + '\n{"id": "1", "respo'
        )
    assert main([str(run)]) == 0
    page = (run / "report.html").read_text()
    assert (
        "no idea" in page
        and "left:10.00%;top:10.00%;width:40.00%;height:40.00%" in page
        and "[8, 6, 40, 30]" in page
        and "+0.71" in page
    )


def test_small_things():
    assert title_of("after_grpo") == "After GRPO" and title_of("kl_ablation") == "Kl ablation"
    assert config_difference([{"a": {"b": 1}, "c": 2}, {"a": {"b": 2}, "c": 2}]) == [("a.b", [1, 2])]
    assert dataclasses.is_dataclass(QuestionRecord)


def test_what_is_below_a_blind_guess_is_remarked(run):
    path = run / "eval" / "after_grpo.json"
    made = json.loads(path.read_text())
    made["families"]["box"] |= {"prior_words": 0.9}
    path.write_text(json.dumps(made))
    page = build_report([load_run(run)], compare=compare).html()
    assert "1 of 2 families is below a blind guess" in page and "box 0.80 (blind 0.90)" in page


def test_answers_of_a_gallery_can_be_narrowed(run):
    page = build_report([load_run(run)]).html()
    assert 'data-value="some right"' not in page  # one question: nothing to choose
    write_gallery(run, 9, [{"record": question(question_id="q2"), "answers": answers(0.0, 0.1), "phase": "after_sft"}])
    page = build_report([load_run(run)]).html()
    assert 'data-value="some right"' in page and 'data-value="none right"' in page


def test_several_runs_answer_the_same_question_side_by_side(tmp_path):
    runs = [load_run(made_run(tmp_path / name)) for name in ("a_1", "b_2")]
    page = build_report(runs).html()
    titles = re.findall(r'<h4 class="pane-title">(.*?)</h4>', page)
    assert any(t.startswith("a_1: ") for t in titles) and any(t.startswith("b_2: ") for t in titles)


def test_steps_and_time_count_what_was_not_logged():
    rows = [{"step": 0, "eval/reward": 0.1}, *({"step": s, "time/step": 2.0} for s in (1, 5, 10)), {"step": 12}]
    phase = Phase("grpo", Path("x"), {}, rows, [], {})
    assert phase.steps == 12 and phase.seconds == 20.0
    assert Phase("grpo", Path("x"), {}, [], [], {}).steps == 0


def test_cards_count_what_the_run_was_about():
    """A walk that is shown beside the run adds neither pictures nor questions to it."""

    def dataset(name, kind, train, heldout, **config):
        splits = {"train": {"records": train}, "heldout": {"records": heldout}}
        return Path("runs/q", name), {"identity": {"name": kind, "config": config}, "splits": splits}

    own = [dataset("s", "scenes", 9, 1), dataset("q", "questions", 40, 5, scenes="runs/q/s", rooms="")]
    walk = [dataset("w", "scenes", 0, 32), dataset("wq", "questions", 0, 26, scenes="", rooms="runs/q/w")]
    for datasets, pictures, questions in ((own + walk, (10, 1), (45, 5)), (walk, (32, 32), (26, 26))):
        run = SimpleNamespace(datasets=datasets)
        assert (story._count(run, "scenes"), story._count(run, "questions")) == (pictures, questions)

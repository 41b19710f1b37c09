"""A judge in evaluation, which is a local server: questions whose reward asks one, answers that rules cannot read, and
its agreement with people.
"""

import http.server
import json
import threading

import pytest
import question_sets

from spatial_jax.evals.heldout import evaluate_heldout
from spatial_jax.evals.judging import Grader, make_grader, measure_agreement, read_cases
from spatial_jax.evals.results import judged_text, result_table
from spatial_jax.evals.scoring import evaluate_responses
from spatial_jax.evals.settings import JudgeSettings
from tests.evals import test_evals_loaders as loaders

CASES = [
    *[{"answer": "the red cup", "response": f"It is the red mug {i}.", "correct": True} for i in range(3)],
    {"answer": "the red cup", "response": "The red cup", "correct": True},
    {"answer": "a lamp", "response": "a tall lamp or a chair", "correct": False},
    {"answer": "a lamp", "response": "a chair", "correct": False},
]


class Handler(http.server.BaseHTTPRequestHandler):
    """A judge to whom every answer with "red" or "near" in it is right; "broken" ones get no verdict."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = json.loads(body["messages"][1]["content"])
        self.server.shown.append(shown)
        answer = shown["candidate_answer"]
        right = any(word in answer for word in ("red", "near", " lamp or"))
        text = "so?" if "broken" in answer else json.dumps({"correct": right})
        data = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        return


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    server.daemon_threads, server.block_on_close, server.shown = True, False, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def address(server):
    return f"http://localhost:{server.server_address[1]}/v1"


@pytest.fixture
def grader(server, tmp_path):
    made = make_grader(JudgeSettings(address(server), "m", cache=str(tmp_path / "v.sqlite"), timeout_s=5.0))
    made.judge.config.__dict__["retries"] = 0
    return made


def judged(i, **more):
    return question_sets.record(i, reward='{"kind": "judge"}', question_type="text", **more)


def test_judged_questions_of_ones_own_get_scores(grader, server):
    records = [judged(i, answer="the red cup", options=()) for i in range(4)]
    rows = [{"responses": [text]} for text in ("The red cup.", "it is the red one", "a chair", "broken")]
    result = evaluate_heldout("mine", records, rows, grader=grader)
    assert result["metrics"]["overall"] == pytest.approx(2 / 3) and result["excluded"] == 1
    assert result["judge"] | {"endpoint": ""} == {"model": "m", "endpoint": "", "asked": 2, "cached": 0, "failed": 1}
    assert [i["answers"] for i in result["items"]] == [1, 1, 1, 0]  # what pass rates count
    table = result_table(result)
    assert "judge m: 2 verdicts, 0 from the cache" in table and "left out: 1 answers without a score" in table
    again = evaluate_heldout("mine", records[:3], rows[:3], grader=grader)
    assert again["judge"]["cached"] == 2 and len(server.shown) == 3  # an equal answer asks nobody


ITEM = {"choices": "A. left\nB. right", "answer": "B. right", "question_type": "t", "question": "Where?", "images": []}


def test_unread_answers_of_a_benchmark_are_graded_beyond_the_share(grader, server):
    items = [{**ITEM, "id": str(i)} for i in range(100)]
    rows = {str(i): {"responses": ["B. right"]} for i in range(100)}
    for place, text in ((0, "it stands near"), (1, "far"), (2, "broken"), (3, "")):
        rows[str(place)] = {"responses": [text]}
    rules = evaluate_responses("viewspatial", items, rows)
    assert rules["metrics"]["overall"] == 0.96 and "--judge_endpoint=URL --judge_model=NAME asks one" in judged_text(
        rules
    )
    result = evaluate_responses("viewspatial", items, rows, grader=grader)
    told = result["judge"]
    assert (told["unread"], told["graded"], told["right"], told["excluded"]) == (0.04, 2, 1, 1)
    assert result["metrics"]["overall"] == pytest.approx(97 / 99) and result["metrics"]["unparsed"] == 0.03
    assert {"question", "options", "reference_answer"} < set(server.shown[0]) and len(server.shown) == 3
    assert "Where?" in server.shown[0]["question"] and server.shown[0]["reference_answer"] == "B. right"
    assert "2 of them graded by the judge m, 1 right; 1 without a verdict, left out" in result_table(result)
    few = {**rows, **{str(i): {"responses": ["B"]} for i in range(2)}}
    kept = evaluate_responses("viewspatial", items, few, grader=grader)
    assert kept["metrics"]["overall"] == 0.98 and "graded" not in kept["judge"] and len(server.shown) == 3


def test_every_benchmark_has_a_question_and_a_truth_for_the_judge():
    from spatial_jax.evals import get_benchmark
    from spatial_jax.evals.judging import shown_item
    from tests.evals.test_evals_more import CASES as NEWER
    from tests.evals.test_evals_scorers import CASES as FIRST

    for name, scoring, item, *_ in (*FIRST, *NEWER):
        if "question" in item or "prompt" in item:
            full = {"id": "x", "oracle_option": "B", "text": "A. 1\nB. 2", "A": "x", "B": "y", **item}
            try:
                question, _, truth = shown_item(get_benchmark(name), full, scoring)
            except KeyError:  # a case of the scorer alone, without what its prompt needs
                continue
            assert question and truth, name


def test_agreement_with_hand_checked_cases(grader, tmp_path, capsys, server):
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(json.dumps({"question": "What is nearest?", **case}) for case in CASES))
    told = measure_agreement(grader, read_cases(path))
    assert (told["cases"], told["agree"], told["accepts_wrong"], told["wrong"], told["right"]) == (6, 5, 1, 2, 4)
    assert told["share_ci"][0] == pytest.approx(0.436, abs=1e-3)  # Wilson's interval of 5 of 6
    args = (f"--judge_cases={path}", f"--judge_endpoint={address(server)}", "--judge_model=m")
    text = loaders.verb(capsys, *args)
    assert "judge m: agrees on 5 of 6 hand-checked cases, 83.3 %" in text and "says right: 'a tall lamp" in text
    (tmp_path / "bad.jsonl").write_text('{"question": "?", "answer": "a", "response": "b", "correct": 1}')
    assert "correct must be true or false" in loaders.verb(capsys, f"--judge_cases={tmp_path}/bad.jsonl", code=2)
    assert "needs a judge" in loaders.verb(capsys, f"--judge_cases={path}", code=2)
    assert "judge_model is set" in loaders.verb(capsys, f"--judge_cases={path}", "--judge_model=m", code=2)


def test_the_verb_scores_judged_answers(tmp_path, capsys, server):
    dataset = question_sets.write(tmp_path / "set", [judged(i, answer="the red cup", options=()) for i in range(2)])
    rows = [{"id": f"closer/{i:05}", "response": text} for i, text in enumerate(("red thing", "chair"))]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    args = (f"--score_only={tmp_path}/r.jsonl", f"--dataset={dataset}", "--split=train")
    assert "ask a judge, and there is none" in loaders.verb(capsys, *args, code=2)
    text = loaders.verb(capsys, *args, f"--judge_endpoint={address(server)}", "--judge_model=m")
    assert "overall 50.0" in text and "judge m: 2 verdicts" in text


def test_a_grader_keeps_the_order_of_its_jobs():
    class Silent:
        counts = {}

    assert Grader(Silent(), 4).map(lambda n: n * n, list(range(50)), "x") == [n * n for n in range(50)]

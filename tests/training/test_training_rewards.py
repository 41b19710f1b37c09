"""A run's scoring: whose format counts, the judge, threads beside decoding; planted faults named before step 0."""

import contextlib
import json
import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from question_sets import record, write

from spatial_jax.data.plan import plan_questions
from spatial_jax.data.source import open_questions
from spatial_jax.rewards import RewardUnavailable, probe
from spatial_jax.rewards.scoring import Outcome
from spatial_jax.rewards.user_process import call_user_function
from spatial_jax.rollout.types import Trajectory
from spatial_jax.training import loop, preflight
from spatial_jax.training.answers import AnswerScorer, Failures, make_judge
from spatial_jax.training.grpo import DEAD_ROUNDS, Grpo
from spatial_jax.training.preflight import check_reward_settings, check_rewards, lint_sources, truth_check
from spatial_jax.training.settings import DataSettings, ModelSettings, RewardSettings, RunConfig

WORDS = {1: "cup", 2: "box", 3: "<think>it is nearer</think><answer>cup</answer>", 4: "a mug"}


def decode(tokens):
    return " ".join(WORDS[int(t)] for t in tokens)


def answer(token):
    zeros = np.zeros(2, np.float32)
    return Trajectory(np.array([token, 0], np.int32), zeros, zeros, "stop", 0, 0, np.ones(2, bool), [])


def make_scorer(prompt_mode, decoder=decode, **reward):
    run = RunConfig(data=DataSettings(prompt_mode=prompt_mode), reward=RewardSettings(**reward))
    return AnswerScorer(SimpleNamespace(run=run, processor=SimpleNamespace(decode=decoder)))


class Prompt:
    model_sizes = ((120, 80),)


class Asked:
    """What scoring uses of an EncodedQuestion."""

    def __init__(self, reward='{"kind": "choice"}', **changes):
        self.record, self.prompt = record(0, reward=reward, **changes), Prompt()


@pytest.mark.parametrize("kind", ["ssrl", "vsgrpo", "vilasr"])
def test_a_kind_with_its_own_format_keeps_it(kind):
    scorer = make_scorer("think_answer", format_weight=0.3)
    assert scorer.spec({"reward": {"kind": kind}}) == {"kind": kind}
    assert scorer.spec({"reward": {"kind": "choice"}}) == {
        "kind": "choice",
        "format": "think_answer",
        "format_weight": 0.3,
    }


def test_bare_prompts_ask_for_no_format():
    assert make_scorer("bare").spec({"reward": {"kind": "choice"}}) == {"kind": "choice"}


def test_groups_are_scored_while_others_decode():
    seen = threading.Event()

    def slow_decode(tokens):
        seen.set()
        return decode(tokens)

    future = make_scorer("bare", slow_decode).start(Asked(), [answer(1), answer(2)])
    assert seen.wait(10), "nobody waits for the result, and yet the group is scored"
    assert [o.reward for o in future.result().outcomes] == [1.0, 0.0]


MARKS = """
import pathlib
def reward(response, record):
    pathlib.Path(__file__).with_name("ran").write_text("ran")
    return 1.0
"""


def test_a_record_cannot_name_code_and_the_config_can(tmp_path):
    (tmp_path / "mine.py").write_text(MARKS)
    asked = Asked(json.dumps({"kind": "user", "file": str(tmp_path / "mine.py"), "function": "reward"}))
    (outcome,) = make_scorer("bare")(asked, [answer(1)]).outcomes
    assert outcome.reward is None and "names code" in outcome.error and not (tmp_path / "ran").exists()
    (outcome,) = make_scorer("bare", user_file=str(tmp_path / "mine.py"))(asked, [answer(1)]).outcomes
    assert outcome.reward == 1.0, "the same file, named by the config"


def test_as_many_groups_are_scored_at_a_time_as_the_threads_allow(monkeypatch):
    both = threading.Barrier(2)

    def waits(items, **kwargs):
        both.wait(20)  # passes only when two groups are under way
        return [Outcome(1.0, True)] * len(items)

    monkeypatch.setattr("spatial_jax.rewards.rule.outcome_many", waits)
    scorer = make_scorer("bare", threads=32)  # groups of 16
    futures = [scorer.start(Asked(), [answer(1)]) for _ in range(2)]
    assert [future.result(30).outcomes[0].reward for future in futures] == [1.0, 1.0]


class Verdicts:
    def __init__(self):
        self.asked = []

    def correct(self, question, options, truth, answer, timeout=None):
        self.asked.append(answer)
        if answer == "box":
            raise RewardUnavailable("no verdict in time")
        return answer == "a mug"


def test_judge_is_asked_after_the_rule_and_its_failure_excludes():
    judge = Verdicts()
    scorer = make_scorer("bare", threads=1)
    scorer.judge = judge
    outcomes = scorer(Asked('{"kind": "judge"}'), [answer(1), answer(4), answer(2)]).outcomes
    assert [o.reward for o in outcomes] == [1.0, 1.0, None]
    assert judge.asked == ["a mug", "box"], "the rule settles an equal answer without the judge"


def test_judge_settings():
    assert make_judge(RewardSettings()) is None
    assert (
        make_judge(RewardSettings(judge_endpoint="http://localhost:1/v1", judge_model="judge")).config.model == "judge"
    )
    with pytest.raises(ValueError, match="must start with http"):
        make_judge(RewardSettings(judge_endpoint="localhost:1", judge_model="judge"))


class Measures:
    """Stands for the encoder: prompts as long as their question."""

    def measure(self, item):
        return len(item.question), 16, 2


def test_planted_faults_are_named_before_step_0(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "spatial_jax.data.plan.advice", lambda *_: "add 512 to config.data.prompt_buckets"
    )  # it asks a true encoder
    faults = {
        "unknown key": record(1, reward='{"kind": "choice", "speling": 1}'),
        "unknown kind": record(2, reward='{"kind": "chioce"}'),
        "no option is the answer": record(3, answer="lamp"),
        "no number": record(4, reward='{"kind": "mra"}', question_type="number", answer="far"),
        "broken JSON": record(5, reward="{"),
        "too long": record(6, question="long " * 100),
        "code": record(7, reward='{"kind": "user", "file": "/tmp/reward.py", "function": "reward"}'),
    }
    source = open_questions(write(tmp_path, [record(0), *faults.values()]), "train")
    scorer = make_scorer("bare")
    plan = plan_questions(source, Measures(), max_prompt_tokens=200, check=truth_check(scorer))
    named = {o.position: o.reason for o in plan.offenders}
    assert sorted(named) == [1, 2, 3, 4, 5, 6, 7]
    for position, item in zip(range(1, 8), faults.values()):
        assert item.question_id in named[position]
    assert (
        "'spelling'" not in named[1]
        and "speling" in named[1]
        and "did you mean 'choice'" in named[2]
        and "more than 200 prompt tokens" in named[6]
        and "names code" in named[7]
    )
    assert plan.advice == {"more than 200 prompt tokens": "add 512 to config.data.prompt_buckets"}
    assert len(plan.usable()) == 1
    assert lint_sources([plan.usable()], scorer) == []


@pytest.fixture
def questions(tmp_path):
    return [open_questions(write(tmp_path / "set", [record(i) for i in range(3)]), "train")]


@pytest.mark.parametrize(
    "text, words",
    [
        ("def reward(response, record):\n    return record.answer\n", r"no attribute 'answer' \(mine.py line 2"),
        ("def reward(response, record)\n    return 1.0\n", "line 1: SyntaxError"),
        ("def other(response, record):\n    return 1.0\n", "defines no function reward"),
        ("def reward(response):\n    return 1.0\n", "must take"),
        ("def reward(response, record):\n    return 'good'\n", "could not convert"),
        ("import os\ndef reward(response, record):\n    os._exit(3)\n", "exit code 3"),
        ("def reward(response, record):\n    while True:\n        pass\n", "took more than 1.5 s and was stopped"),
        ("import time\ntime.sleep(60)\n", "took more than 1.5 s and was stopped"),
    ],
)
def test_a_reward_that_never_works_stops_the_run_before_step_1(questions, tmp_path, monkeypatch, text, words):
    monkeypatch.setattr(probe, "LOAD_SECONDS", 1.5 if "was stopped" in words else 60.0)
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ValueError, match=words) as raised:
        check_rewards(questions, make_scorer("bare", user_file=str(tmp_path / "mine.py")))
    assert "\n" not in str(raised.value)


def test_a_reward_that_works_sometimes_is_told_and_goes_on(questions, tmp_path, caplog):
    (tmp_path / "mine.py").write_text(
        "def reward(response, record):\n    return {'cup': 1.0}[response.strip().lower()]\n"
    )
    with caplog.at_level("INFO"):
        check_rewards(questions, make_scorer("bare", user_file=str(tmp_path / "mine.py")))
    assert "failed on 3 of 6 answers tried" in caplog.text and "KeyError" in caplog.text
    assert "16 GiB of memory at most (config.reward.user_memory_gib)" in caplog.text


def test_questions_for_a_judge_need_one_that_answers(tmp_path):
    seen, judged = {}, record(9, reward='{"kind": "judge"}')
    sources = [open_questions(write(tmp_path / "set", [record(0), judged]), "train")]
    with pytest.raises(ValueError, match=r"scored by a judge, and there is none.*judge_endpoint"):
        check_rewards(sources, make_scorer("bare"), seen)
    dead = make_scorer("bare", judge_endpoint="http://127.0.0.1:9/v1", judge_model="m")
    with pytest.raises(ValueError, match=r"reward does not work: the judge at .* gave no verdict .ConnectionRefused"):
        check_rewards(sources, dead)
    alive = make_scorer("bare")
    alive.judge = Verdicts()
    check_rewards(sources, alive)
    assert len(alive.judge.asked) == 1


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"user_file": "/no/such/reward.py"}, "user_file = '/no/such/reward.py': no such file"),
        ({"judge_model": "m"}, "judge_model is set, but config.reward.judge_endpoint is not"),
        ({"judge_endpoint": "http://h/v1"}, "needs a model name"),
        (
            {"judge_endpoint": "http://h/v1", "judge_model": "m", "judge_key_variable": "sk-0123456789abcdefghij"},
            "name of",
        ),
    ],
)
def test_reward_settings_that_cannot_work_are_told_before_anything_is_loaded(settings, words):
    with pytest.raises(ValueError, match=words) as raised:
        check_reward_settings(RewardSettings(**settings))
    assert "0123456789" not in str(raised.value)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_run_that_ends_takes_its_reward_processes_along(tmp_path, monkeypatch, error):
    """They waited for the next call as long as the process lived: a notebook, a suite of tests."""
    (tmp_path / "mine.py").write_text("import os\ndef reward(response, record):\n    return os.getpid()\n")
    pids = []

    def steps(*_):
        pids.append(int(call_user_function(str(tmp_path / "mine.py"), "reward", "", {}, 60.0)))
        if error is not None:
            raise error
        return 0

    monkeypatch.setattr(loop, "_train", steps)
    run = RunConfig(model=ModelSettings(path="p"), data=DataSettings(paths=("d",)))
    with contextlib.nullcontext() if error is None else pytest.raises(error):
        loop.train(run, tmp_path / "run")
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_the_lint_asks_a_judge_for_a_bounded_time_and_says_so(tmp_path, monkeypatch, caplog):
    class Slow:
        asked = 0

        def correct(self, question, options, truth, answer, timeout=None):
            Slow.asked += 1
            time.sleep(min(timeout, 0.3))
            raise RewardUnavailable("slow")

    monkeypatch.setattr(preflight, "LINT_SECONDS", 1.0)
    monkeypatch.setattr(preflight, "TELL_SECONDS", 0.2)
    sources = [
        open_questions(write(tmp_path / "set", [record(i, reward='{"kind": "judge"}') for i in range(9)]), "train")
    ]
    scorer = make_scorer("bare")
    scorer.judge = Slow()
    began = time.monotonic()
    with caplog.at_level("INFO"):
        assert lint_sources(sources, scorer) == []
    assert time.monotonic() - began < 5.0 and 2 <= Slow.asked <= 6
    assert "at most" in caplog.text and "answers shown to the judge" in caplog.text and "was cut off" in caplog.text


def test_failures_are_counted_by_reason_and_the_first_are_shown(caplog):
    failures = Failures()
    for i in range(12):
        failures.add(f"record 'a/{i}': the judge took {i}.5 s; the sample is excluded")
    failures.add("another reason")
    assert (
        list(failures.counts.values()) == [12, 1] and "12 times: record: the judge took N s" in failures.most_common()
    )
    assert len(caplog.records) == 5, "three of the first reason, its tenth, and the other one"


def test_rounds_without_a_single_reward_stop_the_run():
    method = SimpleNamespace(dead_rounds=0, answers=SimpleNamespace(failures=Failures()))
    method.answers.failures.add("the judge gave no verdict (HTTP 503)")
    alive, dead = np.array([[np.nan, 1.0]]), np.full((2, 4), np.nan)
    for _ in range(DEAD_ROUNDS - 1):
        Grpo._check_alive(method, dead)
    Grpo._check_alive(method, alive)
    for _ in range(DEAD_ROUNDS - 1):
        Grpo._check_alive(method, dead)
    with pytest.raises(ValueError, match=r"no answer of the last 3 rounds has a reward .*HTTP 503"):
        Grpo._check_alive(method, dead)

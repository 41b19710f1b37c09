"""A run's scoring: whose format counts, the judge, threads beside decoding; planted faults named before step 0."""

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from question_sets import record, write

from spatial_jax.data.plan import plan_samples
from spatial_jax.data.source import open_questions
from spatial_jax.rewards import RewardUnavailable
from spatial_jax.rewards.scoring import Outcome
from spatial_jax.rollout.types import Trajectory
from spatial_jax.training.answers import AnswerScorer, make_judge
from spatial_jax.training.preflight import lint_sources, truth_check
from spatial_jax.training.settings import DataSettings, RewardSettings, RunConfig

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
    """What scoring uses of a Sample."""

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

    monkeypatch.setattr("spatial_jax.training.answers.outcome_many", waits)
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


def test_planted_faults_are_named_before_step_0(tmp_path):
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
    plan = plan_samples(source, Measures(), max_prompt_tokens=200, check=truth_check(scorer))
    named = {o.position: o.reason for o in plan.offenders}
    assert sorted(named) == [1, 2, 3, 4, 5, 6, 7]
    for position, item in zip(range(1, 8), faults.values()):
        assert item.question_id in named[position]
    assert (
        "'spelling'" not in named[1]
        and "speling" in named[1]
        and "did you mean 'choice'" in named[2]
        and "prompt bucket" in named[6]
        and "names code" in named[7]
    )
    assert len(plan.usable()) == 1
    assert lint_sources([plan.usable()], scorer) == []

"""config.reward.by_family: one key gives families their rewards, in training and evaluation alike."""

import json
from types import SimpleNamespace

import pytest
from question_sets import record, write

from spatial_jax.data.asked import Asking
from spatial_jax.data.source import open_questions
from spatial_jax.evals.runner import asked_rule, load_records
from spatial_jax.evals.settings import EvalSettings, PolicySettings
from spatial_jax.rewards import score
from spatial_jax.rewards.by_family import check_by_family, parse_by_family, reward_of_family
from spatial_jax.rewards.rule import OWN_REWARD, reward_spec, stated_rule
from spatial_jax.training.answers import AnswerScorer
from spatial_jax.training.preflight import check_reward_settings, check_rewards
from spatial_jax.training.settings import DataSettings, RewardSettings, RunConfig


def scorer(prompt_mode="vanilla", **reward):
    run = RunConfig(data=DataSettings(prompt_mode=prompt_mode), reward=RewardSettings(**reward))
    return AnswerScorer(SimpleNamespace(run=run, processor=None))


def asked(family="relation", **reward):
    return {"question_id": "q", "family": family, "reward": reward or {"kind": "choice"}}


def test_a_family_gets_the_reward_that_the_run_names_and_others_keep_theirs():
    spec = scorer(by_family=("relation=judge", "vsi_*=min_relative", "*=exact")).spec
    assert spec(asked()) == {"kind": "judge"}
    assert spec(asked("vsi_object_size_estimation", kind="mra")) == {"kind": "min_relative"}
    assert spec(asked("count", kind="number")) == {"kind": "exact"}
    assert scorer(by_family=("relation=judge",)).spec(asked("count", kind="number")) == {"kind": "number"}
    with pytest.raises(ValueError, match="names code"):
        spec(asked(kind="user", file="x.py"))
    tolerant = scorer(by_family=("distance=mra:comparison=<=",)).spec(asked("distance", kind="mra", tolerance=0.2))
    assert tolerant == {"kind": "mra", "tolerance": 0.2, "comparison": "<="}, "what the label knows stays"


@pytest.mark.parametrize(
    ("form", "mode"), [("vanilla", "vanilla"), ("think_answer", "think"), ("observe_answer", "observe")]
)
def test_vsgrpo_takes_the_mode_of_the_runs_form(form, mode):
    assert scorer(form, by_family=("vsi_*=vsgrpo",)).spec(asked("vsi_a")) == {"kind": "vsgrpo", "mode": mode}
    given = scorer(form, by_family=("vsi_*=vsgrpo:mode=think",)).spec(asked("vsi_a"))
    assert given == {"kind": "vsgrpo", "mode": "think"}


def test_vsgrpo_has_no_boxed_form():
    with pytest.raises(ValueError, match="vsgrpo knows vanilla, think, observe responses"):
        scorer("think_boxed", by_family=("vsi_*=vsgrpo",)).spec(asked("vsi_a"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("relation", "is no FAMILY=REWARD"),
        ("relation=", "is no FAMILY=REWARD"),
        ("relation=juge", "reward 'juge' is unknown; .*judge"),
        ("relation=user", "reward 'user' is unknown"),
        ("relation=mra:comparisson=<", "comparisson.* is unknown; .*comparison"),
        ("relation=mra:tolerance", "KEY=VALUE"),
        ("relation=mra:tolerance=much", "is no ordinary number"),
    ],
)
def test_what_is_no_reward_is_one_line(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        check_reward_settings(RewardSettings(by_family=(text,)))
    assert "\n" not in str(caught.value) and "reward.by_family" in str(caught.value)
    with pytest.raises(ValueError, match=words):
        EvalSettings(policy=PolicySettings(by_family=(text,))).check()


def test_a_family_that_no_question_has_is_named_with_near_ones(tmp_path):
    write(tmp_path, [record(0, family="relation"), record(1, family="distance")])
    source = open_questions(tmp_path, "train")
    check_rewards([source], scorer(by_family=("rel*=exact",)))
    with pytest.raises(ValueError, match="no question is of family 'relations'; did you mean relation"):
        check_rewards([source], scorer(by_family=("relations=exact",)))
    with pytest.raises(ValueError, match="did you mean distance"):
        load_records([tmp_path], "train", by_family=("distances=exact",))
    with pytest.raises(ValueError, match="the data has distance, relation"):
        check_by_family(("zzz=exact",), {"relation", "distance"})
    with pytest.raises(ValueError, match="scored by a judge, and there is none"):
        check_rewards([source], scorer(by_family=("relation=judge",)))


def test_evaluation_scores_as_training_did(tmp_path):
    write(tmp_path, [record(0, family="relation"), record(1, family="distance", reward='{"kind": "judge"}')])
    rule = asked_rule(Asking("vanilla", by_family=("relation=judge", "distance=exact")))
    (kept,) = load_records([tmp_path], "train", by_family=rule.by_family)
    assert kept.family == "distance", "a judge is asked for the other one, and there is none"
    assert reward_spec(kept.as_dict(), rule) == {"kind": "exact"}
    assert reward_spec(kept.as_dict(), OWN_REWARD) == {"kind": "judge"}
    told = json.loads(json.dumps({"format": "none", "by_family": list(rule.by_family)}))
    assert stated_rule(told).by_family == rule.by_family


@pytest.mark.parametrize(
    ("kind", "response", "reward"),
    [
        ("exact", " cup ", 1.0),
        ("exact", "Cup", 0.0),
        ("min_relative", "about 3 metres", 0.5),
        ("min_relative", "2.0", 1.0),
        ("min_relative", "4.1", 0.0),
        ("min_relative", "1", 0.0),
        ("min_relative", "far", 0.0),
    ],
)
def test_vsgrpos_two_rules_by_themselves(kind, response, reward):
    row = {"question_id": "q", "answer": "cup" if kind == "exact" else "2.0", "unit": "m", "question_type": "number",
           "options": ()}  # fmt: skip
    assert score({"kind": kind}, response, row) == pytest.approx(reward)


def test_the_first_text_that_fits_counts():
    texts = ("vsi_object_counting=exact", "vsi_*=min_relative")
    assert reward_of_family("vsi_object_counting", texts) == {"kind": "exact"}
    assert reward_of_family("vsi_room", texts) == {"kind": "min_relative"} and reward_of_family("box", texts) is None
    assert parse_by_family(("a=depth:scale=1.5;form=tolerance",)) == (
        ("a", {"kind": "depth", "scale": 1.5, "form": "tolerance"}),
    )

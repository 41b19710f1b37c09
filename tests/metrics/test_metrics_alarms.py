"""Alarms fire on what they are named for and stay silent on a healthy run."""

import pytest

from spatial_jax.metrics import AlarmWatch, check_alarms, run_facts, scan_alarms, steady_lines


def history(**series):
    count = max(len(values) for values in series.values())
    return [{"step": i, **{key.replace("__", "/"): values[i] for key, values in series.items()}} for i in range(count)]


HEALTHY = {
    "entropy": [0.4 - 0.001 * i for i in range(100)],
    "format__share": [0.98] * 100,
    "length__mean": [50 + 0.1 * i for i in range(100)],
    "length__truncated": [0.01] * 100,
    "group__no_gradient": [0.4] * 100,
    "gap__mean": [1e-3] * 100,
    "pass_rate": [0.5] * 100,
}


def test_a_healthy_run_is_silent():
    assert scan_alarms(history(**HEALTHY)) == []


def test_nothing_logged_raises_nothing():
    assert check_alarms([]) == [] and check_alarms([{"step": 1}]) == []


@pytest.mark.parametrize(
    "key,values,name",
    [
        ("entropy", [0.4] * 50 + [0.05] * 20, "entropy collapse"),
        ("format__share", [0.95] * 50 + [0.55] * 20, "format collapse"),
        ("length__mean", [50] * 50 + [150] * 20, "length explosion"),
        ("length__truncated", [0.0] * 50 + [0.5] * 20, "length explosion"),
        ("group__no_gradient", [0.4] * 50 + [0.9] * 20, "no gradient"),
        ("gap__mean", [0.001] * 50 + [0.05] * 20, "sampler gap out of band"),
        ("gap__ratio_mean", [1.0] * 50 + [1.05] * 20, "sampler gap out of band"),
        ("loss", [0.1] * 50 + [float("nan")] * 20, "not finite"),
    ],
)
def test_planted_faults_are_named_with_their_steps(key, values, name):
    spans = scan_alarms(history(**{key: values}))
    assert [span.name for span in spans] == [name]
    assert 50 <= spans[0].first <= 56 and spans[0].last == 69
    assert spans[0].worst.advice and name in spans[0].worst.line()


def test_advice_says_too_easy_or_too_hard():
    easy = check_alarms(history(group__no_gradient=[0.9] * 10, pass_rate=[0.95] * 10))[0]
    hard = check_alarms(history(group__no_gradient=[0.9] * 10, pass_rate=[0.02] * 10))[0]
    assert "too easy" in easy.advice and "too hard" in hard.advice


def test_short_answers_never_explode():
    assert check_alarms(history(length__mean=[3] * 10 + [12] * 10)) == []


def test_watch_tells_once_and_again_after_a_while():
    watch = AlarmWatch(repeat=10)
    told = [step for step in range(27) if watch.update({"step": step, "group/no_gradient": 0.9})]
    assert told == [4, 14, 24]


def settings(method="grpo", update_prompts=8, **rollout):
    return {
        "train": {"method": method, "prompts": 8, "update_prompts": update_prompts},
        "rollout": {"temperature": 1.0, "top_k": 0, **rollout},
        "entropy": {"adaptive": False},
    }


@pytest.mark.parametrize("method", ["align", "sft", "dpo"])
def test_what_settles_in_supervised_training_is_no_alarm(method):
    rows = history(loss=[3.0 - 0.02 * i for i in range(100)], entropy=[2.0 - 0.0199 * i for i in range(100)])
    assert scan_alarms(rows, facts=run_facts(settings(method), rows)) == []
    assert scan_alarms(rows) == []  # nor where no settings were kept: nothing there was sampled
    rows[-1]["loss"] = float("nan")
    assert [span.name for span in scan_alarms(rows, facts=run_facts(settings(method), rows))] == ["not finite"]


@pytest.mark.parametrize(
    ("rollout", "words"),
    [({"temperature": 0.0}, "config.rollout.temperature = 0"), ({"top_k": 1}, "config.rollout.top_k = 1")],
)
def test_answers_that_cannot_differ_are_not_blamed_on_the_questions(rollout, words):
    rows = history(group__no_gradient=[1.0] * 10, pass_rate=[0.02] * 10)
    (alarm,) = check_alarms(rows, facts=run_facts(settings(**rollout)))
    assert words in alarm.message and "uestions" not in alarm.line() and "config.rollout.temperature" in alarm.advice


def test_three_steps_of_a_fresh_policy_raise_nothing():
    rows = history(
        group__no_gradient=[1.0] * 3, length__truncated=[1.0] * 3, format__share=[0.1] * 3, length__mean=[9.0, 40, 60]
    )
    assert scan_alarms(rows, facts=run_facts(settings())) == []


def test_one_update_a_rollout_cannot_clip():
    one, four = run_facts(settings()), run_facts(settings(update_prompts=2))
    assert "clip/high" in one.steady and "ratio/max" in one.steady and "clip/high" not in four.steady
    (line,) = steady_lines(one, ["loss", "clip/fraction", "kl/old"])
    assert line.startswith("clip/fraction, kl/old cannot move in this run: each rollout is used for one optimizer step")
    rows = history(entropy=[0.4] * 50 + [0.05] * 20, reward__mean=[0.5] * 70)
    assert "clip" not in check_alarms(rows, facts=one)[0].advice and "clip" in check_alarms(rows, facts=four)[0].advice

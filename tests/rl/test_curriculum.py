"""The curriculum: pass rates, window, retirement and re-test, stages, offline filter, refill accounting, exact
state.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_jax.data.records import QuestionRecord
from spatial_jax.evals.results import ScoredItem, summarise, write_result
from spatial_jax.rl.curriculum import Curriculum, CurriculumConfig, Stage
from spatial_jax.rl.pass_rates import PassRateStore, pass_rate_asking, read_pass_rates, write_pass_rates
from spatial_jax.rl.refill import Refill, drop_reason


def question(name="q", hops=1, family="distance", difficulty="{}"):
    return QuestionRecord(
        question_id=name,
        source="s",
        split="train",
        scene_id="s",
        images=(),
        widths=(),
        heights=(),
        question="?",
        question_type="mcq",
        answer="A",
        family=family,
        hops=hops,
        difficulty=difficulty,
    )


ALL, NONE, HALF = [True] * 16, [False] * 16, [True] * 8 + [False] * 8


def test_moving_pass_rate():
    store = PassRateStore(decay=0.5)
    store.observe("a", [True, True, False, False], 0)
    assert store.get("a").pass_rate == 0.5
    store.observe("a", [True, True, True, True], 1)
    assert store.get("a").pass_rate == 5 / 6
    store.observe("a", [None, None], 2)
    assert store.get("a").pass_rate == 5 / 6 and store.get("a").step == 1
    assert store.get("b").pass_rate is None


def test_solved_questions_rest_and_are_tested_again():
    curriculum = Curriculum(CurriculumConfig(retest_after=10, retest_growth=2.0, retest_limit=30))
    q = question()
    assert curriculum.accept(q)
    curriculum.observe(q, ALL, dropped="all_right")
    assert curriculum.refusal(q) == "solved"
    curriculum.advance(9)
    assert curriculum.refusal(q) == "solved"
    curriculum.advance(10)
    assert curriculum.refusal(q) is None
    curriculum.observe(q, ALL)  # still solved: rests twice as long
    curriculum.advance(29)
    assert curriculum.refusal(q) == "solved"
    curriculum.advance(30)
    assert curriculum.refusal(q) is None
    curriculum.observe(q, NONE)  # forgotten: back for good
    assert curriculum.refusal(q) is None and curriculum.store.get("q").rests == 0


def test_hard_questions_rest_only_after_more_evidence():
    curriculum = Curriculum()
    q = question()
    curriculum.observe(q, NONE)
    assert curriculum.refusal(q) is None
    curriculum.observe(q, NONE)
    assert curriculum.refusal(q) == "hard"


def test_questions_inside_the_window_stay():
    curriculum = Curriculum()
    for _ in range(20):
        curriculum.observe(question(), HALF)
    assert curriculum.refusal(question()) is None


def test_a_dataset_that_rests_as_a_whole_does_not_stall():
    curriculum = Curriculum()
    questions = [question(str(i)) for i in range(3)]
    for q in questions:
        curriculum.observe(q, ALL)
    answers = [curriculum.accept(q) for q in questions * 2]
    assert answers == [False, False, False, True, False, False] and curriculum.starved == 1


def test_stages_go_from_easy_to_hard():
    stages = (Stage(max_hops=1, min_pass_rate=0.2, until_step=100), Stage(max_hops=2, advance_at=0.7), Stage())
    curriculum = Curriculum(CurriculumConfig(stages=stages, stage_window=4))
    assert curriculum.refusal(question(hops=2)) == "stage"
    assert curriculum.refusal(question("rare", difficulty='{"pass_k": 1, "n": 16}')) == "stage"
    assert curriculum.refusal(question("fine", difficulty='{"pass_k": 8, "n": 16}')) is None
    assert not curriculum.advance(99) and curriculum.advance(100)
    assert curriculum.refusal(question(hops=2)) is None and curriculum.refusal(question(hops=3)) == "stage"
    for i in range(3):
        curriculum.observe(question(str(i)), ALL)
    assert not curriculum.advance(101)  # too few groups to judge by
    curriculum.observe(question("x"), HALF)
    assert curriculum.advance(102) and curriculum.stage == 2 and curriculum.refusal(question(hops=9)) is None


def test_offline_filter_by_record_and_by_import(tmp_path):
    file = tmp_path / "rates.jsonl"
    rates = [{"question_id": "easy", "pass_k": 16, "n": 16}, {"question_id": "good", "pass_k": 5, "n": 16}]
    write_pass_rates(file, rates, {"policy": {"prompt_mode": "vanilla"}})
    assert pass_rate_asking(file) == {"prompt_mode": "vanilla"} and read_pass_rates(file) == rates
    curriculum = Curriculum(CurriculumConfig(offline_low=1 / 16, offline_high=15 / 16))
    assert curriculum.import_offline(read_pass_rates(file)) == 2
    assert curriculum.refusal(question("easy")) == "offline" and curriculum.refusal(question("good")) is None
    assert curriculum.refusal(question("other", difficulty='{"pass_k": 0, "n": 16}')) == "offline"
    assert curriculum.refusal(question("unknown")) is None
    with pytest.raises(ValueError, match="row 1: needs question_id"):
        curriculum.import_offline([{"id": "x"}])
    with pytest.raises(ValueError, match="impossible"):
        curriculum.import_offline([{"question_id": "x", "pass_k": 17, "n": 16}])
    file.write_text("{}\nnot json\n")
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_pass_rates(file)


def test_an_evaluation_is_a_file_of_offline_pass_rates(tmp_path):
    items = [
        ScoredItem(id="a", family="count", scene="s", scores=(1.0, 0.0, 0.0, 1.0), correct=(1.0, 0.0, 0.0, 1.0)),
        ScoredItem(id="b", family="count", scene="s", scores=(1.0, 0.0), correct=(1.0, float("nan"))),
        ScoredItem(id="c", family="count", scene="s", scores=(float("nan"),), correct=(float("nan"),)),
    ]
    write_result(tmp_path / "r.json", summarise("x", items, scoring="reward"))
    assert read_pass_rates(tmp_path / "r.json") == [
        {"question_id": "a", "pass_k": 2, "n": 4},
        {"question_id": "b", "pass_k": 1, "n": 1},
    ]
    (tmp_path / "old.json").write_text('{"items": [{"id": "a", "correct": 1.0}]}')
    with pytest.raises(ValueError, match="evaluate again"):
        read_pass_rates(tmp_path / "old.json")


def test_mixture_follows_the_share_of_groups_with_a_gradient():
    curriculum = Curriculum(CurriculumConfig(mixture_strength=1.0))
    for i in range(60):
        curriculum.observe(question(f"a{i}"), ALL, dropped="all_right", source="a")
        curriculum.observe(question(f"b{i}"), HALF, source="b")
    a, b, unseen = curriculum.mixture_weights(["a", "b", "c"], [1.0, 1.0, 2.0])
    assert a < 0.2 and b == pytest.approx(1.0) and unseen == 2.0
    assert Curriculum().mixture_weights(["a"], [0.3]) == [0.3]


def test_metrics_and_pass_rates_for_the_report():
    curriculum = Curriculum()
    curriculum.observe(question("a"), ALL, dropped="all_right")
    curriculum.observe(question("b", family="count"), HALF)
    assert {row["family"]: row["rate"] for row in curriculum.pass_rate_rows()} == {"count": 0.5, "distance": 1.0}
    metrics = curriculum.metrics()
    assert metrics["curriculum/no_gradient_share"] == 0.5 and metrics["curriculum/solved"] == 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 16), st.booleans()), max_size=60), st.integers(0, 60)
)
def test_state_through_json_continues_exactly(events, cut):
    config = CurriculumConfig(retest_after=3, stages=(Stage(max_hops=1, until_step=20), Stage()), mixture_strength=0.5)

    def play(curriculum, part, offset):
        seen = []
        for i, (name, right, dropped) in enumerate(part, offset):
            curriculum.advance(i)
            seen.append(curriculum.accept(question(name, hops=1 + (name > "c"))))
            if seen[-1]:
                curriculum.observe(
                    question(name),
                    [True] * right + [False] * (16 - right),
                    dropped="constant" if dropped else None,
                    source=name,
                )
        return seen

    whole = Curriculum(config)
    expected = play(whole, events, 0)
    first = Curriculum(config)
    head = play(first, events[:cut], 0)
    second = Curriculum(config)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert head + play(second, events[cut:], len(events[:cut])) == expected
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize(
    "accuracies, correct, reason",
    [
        ([1.0] * 4, [True] * 4, "all_right"),
        ([0.0] * 4, [False] * 4, "all_wrong"),
        ([0.1 + 0.2] * 4, [False] * 4, "constant"),
        ([0.3, 0.1 + 0.2], [False] * 2, None),
        ([0.6, 0.9], [True, True], None),
        ([None, 1.0], [None, True], "unscored"),
        ([], [], "unscored"),
        ([None, 0.0, 1.0], [None, False, True], None),
    ],
)
def test_groups_are_dropped_by_exact_equality_of_accuracy(accuracies, correct, reason):
    assert drop_reason(accuracies, correct) == reason


def test_refill_counts_every_group_and_drops_the_surplus():
    refill = Refill(target=4, max_rounds=3)
    assert refill.need() == 4
    refill.add(["a", "b", "c", "d"], [None, "all_right", None, "all_wrong"])
    assert refill.need() == 4  # two are missing and half are kept
    refill.add(["e", "f", "g", "h"], [None, None, None, "constant"])
    assert refill.need() == 0
    batch, counts = refill.take()
    assert batch == ["a", "c", "e", "f"] and refill.pending == [] and refill.need() == 4
    assert (counts.drawn, counts.kept, counts.rounds) == (8, 5, 2)
    assert counts.metrics()["groups/no_gradient_share"] == 3 / 8 and counts.metrics()["groups/dropped_all_right"] == 1


def test_refill_gives_up_after_its_rounds():
    refill = Refill(target=2, max_rounds=2)
    while refill.need():
        refill.add(["x"] * refill.need(), ["all_wrong"] * refill.need())
    batch, counts = refill.take()
    assert batch == [] and counts.rounds == 2 and counts.kept == 0


@pytest.mark.parametrize(
    "change, words",
    [
        ({"low": 0.9, "high": 0.5}, "windows must be ordered"),
        ({"stages": (Stage(), Stage())}, "until_step or advance_at"),
        ({"mixture_strength": 2.0}, "mixture_strength"),
        ({"stages": ()}, "needs a stage"),
    ],
)
def test_wrong_settings_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        CurriculumConfig(**change)

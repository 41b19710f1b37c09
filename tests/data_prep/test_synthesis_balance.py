"""Answers are balanced: neither a constant nor the question's words do much better than chance, even in a world full of
habits.
"""

import collections
import dataclasses
import random
from types import SimpleNamespace

import pytest
from synthesis_world import picture, scene

from data_prep.synthesis import Generator, Options, PriorTable, choose_families, format_table, margins
from data_prep.synthesis.balance import Balance
from data_prep.synthesis.refusals import Refusals

CLOSED = "bearing,relation,depth_order2,size,distance,direction,multihop"


def rows(scenes, profile):
    generator = Generator(choose_families(CLOSED), Options(profile=profile), per_scene=6)
    table = PriorTable()
    for s in scenes:
        table.add(generator(s))
    return table.rows()


@pytest.mark.parametrize("profile", ["plain", "full"])
def test_synthesis_balance_words_and_constants_stay_at_chance(profile):
    found = rows([scene(i, split="heldout" if i % 3 == 0 else "train") for i in range(600)], profile)
    assert len(found) == 2 * len(CLOSED.split(","))
    for row in found:
        allowed = (
            0.05 + 2.0 * (row["chance"] * (1 - row["chance"]) / row["count"]) ** 0.5
        )  # and twice the counting noise
        assert row["constant"] <= row["chance"] + allowed and row["words"] <= row["chance"] + allowed, row
    assert "chance" in format_table(found)


def habits(index):
    """A world in which balls are always in front and lamps are always tall, and everything named first stands left."""
    s = scene(index)
    place = {"ball": 0.4, "mug": 0.7}
    things = []
    for o in s.objects:
        k = place.get(o.name, 1.0)
        tall = 2.5 if o.name == "lamp" else 1.0
        things.append(
            dataclasses.replace(
                o,
                depth_median=k * o.depth_median,
                depth_q20=k * o.depth_q20,
                depth_q80=k * o.depth_q80,
                extent=(o.extent[0], tall * o.extent[1], o.extent[2]),
            )
        )
    return dataclasses.replace(s, objects=tuple(things))


def test_synthesis_balance_breaks_habits():
    """Names would answer 70 % of the questions here; what is asked stays at chance."""
    naive = collections.Counter()
    for i in range(200):
        balls = [o.depth_median for o in habits(i).objects if o.name == "ball"]
        others = [o.depth_median for o in habits(i).objects if o.name != "ball"]
        naive.update(b < o for b in balls for o in others)
    assert naive[True] / naive.total() > 0.7
    for row in rows([habits(i) for i in range(500)], "plain"):
        if row["family"] in ("depth_order2", "size"):
            assert row["count"] > 250 and row["words"] <= row["chance"] + 0.05


def test_synthesis_balance_tube():
    balance, rng = Balance(), random.Random(0)
    taken = collections.Counter()
    for _ in range(4000):
        value = rng.random() < 0.9  # a natural habit of nine to one
        if balance.take("train", [(("k",), value, 2)]):
            taken[value] += 1
    assert abs(taken[True] - taken.total() / 2) <= 1 + 0.3 * taken.total() ** 0.5 + 1
    assert balance.take("heldout", [(("k",), True, 2)])


def write_scenes(folder, scenes):
    from test_selfsup_tasks import write_scenes as write

    write(folder, scenes)


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if "array_record" in p.name or p.name == "manifest.json"}


def test_synthesis_verb_resumes_with_the_same_bytes(tmp_path, capsys, monkeypatch):
    from data_prep.synthesis import dataset
    from data_prep.synthesize import main

    image = picture(320, 240)
    write_scenes(tmp_path / "s", [scene(i, image=image, split="heldout" if i % 4 == 0 else "train") for i in range(12)])
    common = [f"--scenes={tmp_path / 's'}", "--per_scene=4"]
    assert main([*common, f"--out={tmp_path / 'one'}"]) == 0
    written = capsys.readouterr().out
    assert "heldout" in written and "multihop" in written

    real, count = dataset.QuestionWriter.write, iter(range(10_000))

    def stop_in_the_middle(self, record):
        if next(count) == 17:
            raise KeyboardInterrupt
        real(self, record)

    monkeypatch.setattr(dataset.QuestionWriter, "write", stop_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        main([*common, f"--out={tmp_path / 'two'}"])
    assert not (tmp_path / "two" / "manifest.json").exists()
    monkeypatch.setattr(dataset.QuestionWriter, "write", real)
    assert main([*common, f"--out={tmp_path / 'two'}"]) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert main([*common, f"--out={tmp_path / 'two'}", "--seed=1"]) == 2 and "other settings" in capsys.readouterr().err


def test_synthesis_verb_refuses_in_one_line(tmp_path, capsys):
    from data_prep.synthesize import main, parser

    for arguments in (
        ["--scenes=none"],
        ["--scenes=none", "--families=riddles"],
        ["--import=jsonl", "--path=none.jsonl"],
    ):
        assert main([*arguments, f"--out={tmp_path / 'o'}"]) == 2
    assert len(capsys.readouterr().err.strip().split("\n")) == 3
    assert "Which is closer: the red ball or the blue box? -> red ball" in parser().format_help()


def test_a_comparison_is_answered_only_beyond_its_margins():
    def at(depth, box=(10, 10, 30, 30), sigma=0.01):
        x1, y1, x2, y2 = box
        return SimpleNamespace(
            has_depth=True,
            hints="",
            depth=depth,
            near=0.97 * depth,
            far=1.03 * depth,
            sd={"depth": sigma},
            box=box,
            u=(x1 + x2) / 2,
            v=(y1 + y2) / 2,
            width=x2 - x1,
            height=y2 - y1,
        )

    view, options = SimpleNamespace(width=100, height=100, intrinsics=(), refused=Refusals()), Options()
    assert margins.depth_order(view, at(1.0), at(1.3), options)[0] == -1
    assert margins.depth_order(view, at(1.3), at(1.0), options)[0] == 1
    assert margins.depth_order(view, at(1.0), at(1.1), options) is None, "ratio below 1.15"
    assert margins.depth_order(view, at(1.0), at(1.3, sigma=0.3), options) is None, "within two deviations"
    assert margins.axis_gap(view, at(1), at(1, (60, 10, 80, 30)), "x", options)[0] == -1
    assert margins.axis_gap(view, at(1), at(1, (12, 10, 32, 30)), "x", options) is None
    assert set(view.refused.report()[""]) == {"depth_ratio", "sigmas", "gap_of_side"}

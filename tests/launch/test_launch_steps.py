"""The step runner: done steps are kept, a failure stops with its code, a changed command is run again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from launch.pace import FASTEST, MEASURED, SLOWEST, slower, speed
from launch.quickstart import photo_steps, root_folder, steps
from launch.steps import Step, StepRunner


def step(name, code):
    return Step(name, name, ("-c", code), 0.1)


def test_runs_in_order_and_keeps_what_is_done(tmp_path, capfd):
    write = f"open({str(tmp_path / 'log')!r}, 'a').write('x')"
    plan = [step("one", write), step("two", write)]
    assert StepRunner(tmp_path, plan).run() == 0
    assert StepRunner(tmp_path, plan).run() == 0
    assert (tmp_path / "log").read_text() == "xx"
    assert "done before" in capfd.readouterr().out


def test_failure_stops_with_its_code_and_resumes_there(tmp_path, capfd):
    flag = tmp_path / "flag"
    plan = [
        step("one", "pass"),
        step("two", f"import os, sys; sys.exit(0 if os.path.exists({str(flag)!r}) else 7)"),
        step("three", "pass"),
    ]
    assert StepRunner(tmp_path, plan).run() == 7
    assert "run the same command again" in capfd.readouterr().out
    flag.write_text("")
    assert StepRunner(tmp_path, plan).run() == 0


def test_a_changed_command_runs_again_with_all_that_follow(tmp_path):
    log = tmp_path / "log"
    write = f"open({str(log)!r}, 'a').write"
    assert StepRunner(tmp_path, [step("one", f"{write}('a')"), step("two", f"{write}('b')")]).run() == 0
    assert StepRunner(tmp_path, [step("one", f"{write}('A')"), step("two", f"{write}('b')")]).run() == 0
    assert log.read_text() == "abAb"


def test_a_step_that_was_killed_midway_is_run_again_whatever_command_was_done_before(tmp_path):
    log = tmp_path / "log"
    write = f"open({str(log)!r}, 'a').write"
    first = [step("one", f"{write}('a')"), step("two", f"{write}('b')")]
    assert StepRunner(tmp_path, first).run() == 0
    # Another command of the same step is killed over its half-written output, and the first plan is run again.
    assert StepRunner(tmp_path, [step("one", f"{write}('half'); import os; os._exit(9)"), first[1]]).run() == 9
    assert StepRunner(tmp_path, first).run() == 0
    assert log.read_text() == "abhalfab"


@pytest.mark.parametrize("text", ["[]", "7", "null", '"x"', "{", "{}", '{"key": 1}', "[" * 100_000])
def test_a_stamp_that_is_none_means_not_done(tmp_path, text):
    log = tmp_path / "log"
    plan = [step("one", f"open({str(log)!r}, 'a').write('x')")]
    assert StepRunner(tmp_path, plan).run() == 0
    (tmp_path / ".steps" / "one.json").write_text(text)
    assert StepRunner(tmp_path, plan).run() == 0
    assert log.read_text() == "xx"


def test_quickstart_is_a_list_of_verbs(tmp_path):
    plan = steps(tmp_path, "", False, 100, 1)
    assert all(s.args[0] == "-m" and s.args[1].split(".")[0] in ("data_prep", "spatial_jax") for s in plan)
    assert len({s.name for s in plan}) == len(plan)
    own, scratch = steps(tmp_path, "pictures", False, 100, 1), steps(tmp_path, "", True, 100, 1)
    assert [s.name for s in own if s not in plan][:2] == ["photos", "selfsup"]
    assert {"policy", "align", "sft"} == {s.name for s in scratch} - {s.name for s in plan}
    assert root_folder("", False) != root_folder("pictures", False) != root_folder("pictures", True)
    json.dumps([s.command for s in plan])


def test_photos_with_depth_beside_them_give_questions_in_metres(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    plain = {s.name: s for s in photo_steps(Path("runs/q"), str(tmp_path), 1)}
    Image.fromarray(np.full((48, 64), 2000, np.uint16)).save(tmp_path / "a_depth.png")
    deep = {s.name: s for s in photo_steps(Path("runs/q"), str(tmp_path), 1)}
    assert list(plain) == ["photos", "selfsup"] and "--source=folder" in plain["photos"].args
    assert list(deep) == ["photos", "selfsup", "photo_scenes", "photo_questions"]
    assert "--source=rgbd" in deep["photos"].args and "--points=4" in deep["photo_scenes"].args
    plan = steps(Path("runs/q"), str(tmp_path), False, 20, 1)
    assert any("'runs/q/photo_questions'" in a for s in plan for a in s.args if "data.paths" in a)


def test_the_time_is_told_for_this_machine_and_corrected_by_what_steps_take(tmp_path, capfd):
    assert speed(0.02, threads=1) > 0
    assert slower(MEASURED) == 1 and slower(MEASURED / 4) == 4
    assert slower(0) == SLOWEST and slower(100 * MEASURED) == FASTEST
    slow = StepRunner(tmp_path, [Step("one", "one", ("-c", "pass"), 3.0), Step("two", "two", ("-c", "pass"), 1.0)], 4.0)
    assert slow.minutes_left() == 16
    assert slow.run() == 0
    told = capfd.readouterr().out
    assert "about 12.0 min, 16 min to the end" in told and "about 1.0 min, 1 min to the end" in told
    assert slow.minutes_left() == 0

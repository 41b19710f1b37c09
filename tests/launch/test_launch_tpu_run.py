"""TPU runs against a fake gcloud on the PATH, which plays a script of answers and records every call; and the rehearsal
on this machine.
"""

import json
import os
import subprocess
import sys
import time

import pytest

from launch import processes, rehearsal, tpu_run, xla_flags
from launch.gcloud import Cloud, CloudError

# Each rule: [words that the call must hold, [[exit code, stdout, stderr], ...]]; answers are used up in turn, the last
# one stays.
FAKE = """#!{python}
import json, pathlib, sys
here = pathlib.Path({here!r}); line = " ".join(sys.argv[1:])
with open(here / "calls", "a") as out: out.write(json.dumps(sys.argv[1:]) + "\\n")
rules = json.loads((here / "rules.json").read_text())
for rule in rules:
    if rule[0] in line:
        code, stdout, stderr = rule[1].pop(0) if len(rule[1]) > 1 else rule[1][0]
        (here / "rules.json").write_text(json.dumps(rules))
        sys.stdout.write(stdout); sys.stderr.write(stderr); sys.exit(code)
sys.exit(0)
"""
READY = ["tpu-vm describe", [[0, "READY\n", ""]]]
DONE = ["tail -n +", [[0, "step 1\nspatial_jax_exit 0\n", ""]]]
CREATE, DELETE, FOLLOW = "queued-resources create", "queued-resources delete", "tail -n +"


@pytest.fixture
def gcloud(tmp_path, monkeypatch):
    (tmp_path / "gcloud").write_text(FAKE.format(python=f"{sys.executable} -S", here=str(tmp_path)))
    (tmp_path / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(tpu_run, "pack", lambda target: target.write_bytes(b""))

    def run(*rules, extra=()):
        (tmp_path / "rules.json").write_text(json.dumps(rules))
        code = tpu_run.main(
            [
                "--name=li",
                "--zone=z",
                "--accelerator=v5litepod-16",
                "--config=configs/debug_cpu.py",
                "--workdir=gs://b/w",
                *([] if "--via=xpk" in extra else ["--pause=0.01"]),
                "--config.train.steps=5",
                *extra,
            ]
        )
        path = tmp_path / "calls"
        return code, [" ".join(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    return run


def count(calls, words):
    return sum(words in call for call in calls)


def test_success_creates_copies_starts_follows_and_deletes(gcloud, capsys):
    code, calls = gcloud(READY, DONE)
    assert code == 0 and "step 1" in capsys.readouterr().out
    order = [
        next(i for i, call in enumerate(calls) if words in call)
        for words in (CREATE, " scp ", "uv pip install", "spatial_jax.train", FOLLOW, DELETE)
    ]
    assert order == sorted(order)
    start = calls[order[3]]
    assert "--worker=all" in start and "--config.train.steps=5" in start and "setsid nohup" in start
    assert "--runtime-version=v2-alpha-tpuv5-lite" in calls[order[0]]


def test_quota_refusal_ends_at_once_in_one_line(gcloud, capsys):
    code, calls = gcloud(
        [CREATE, [[1, "", "ERROR: Quota limit 'TPUV5sLitepodPerProjectPerZone' has been exceeded. Limit: 0\n"]]]
    )
    err = capsys.readouterr().err
    assert code == 1 and len(calls) == 1
    assert err.startswith("tpu_run: quota refused v5litepod-16 in z") and err.count("\n") == 1


def test_preemption_recreates_and_resumes(gcloud):
    states = ["tpu-vm describe", [[0, "READY\n", ""], [0, "PREEMPTED\n", ""], [0, "READY\n", ""]]]
    code, calls = gcloud(states, [FOLLOW, [[255, "step 1\n", ""], [0, "resumed\nspatial_jax_exit 0\n", ""]]])
    assert code == 0
    assert count(calls, CREATE) == 2 and count(calls, DELETE) == 2 and count(calls, "spatial_jax.train") == 2


def test_exit_75_on_a_living_tpu_starts_again_there(gcloud):
    code, calls = gcloud(READY, [FOLLOW, [[0, "spatial_jax_exit 75\n", ""], [0, "spatial_jax_exit 0\n", ""]]])
    assert code == 0 and count(calls, CREATE) == 1 and count(calls, "spatial_jax.train") == 2


def test_lost_connection_follows_on_where_it_was(gcloud, capsys):
    code, calls = gcloud(READY, [FOLLOW, [[255, "a\nb\n", ""], [0, "c\nspatial_jax_exit 0\n", ""]]])
    follows = [call for call in calls if FOLLOW in call]
    assert (
        code == 0
        and "tail -n +1 " in follows[0]
        and "tail -n +3 " in follows[1]
        and count(calls, "spatial_jax.train") == 1
    )
    assert "a\nb\n" in capsys.readouterr().out


def test_ssh_failure_is_repeated_and_bounded(gcloud, capsys):
    code, _ = gcloud(
        READY, [" scp ", [[1, "", "ssh: connect to host port 22: Connection refused\n"], [0, "", ""]]], DONE
    )
    assert code == 0
    code, calls = gcloud(
        READY, [" scp ", [[1, "", "ssh: connect to host port 22: Connection refused\n"]]], extra=["--tries=3"]
    )
    assert code == 1 and "gave up after 3 tries" in capsys.readouterr().err and DELETE in calls[-1]


def test_failed_run_returns_its_code_and_leaves_nothing(gcloud):
    code, calls = gcloud(READY, [FOLLOW, [[0, "train: no such folder\nspatial_jax_exit 2\n", ""]]])
    assert code == 2 and DELETE in calls[-1]


def test_existing_tpu_is_used_kept_and_named(gcloud, capsys):
    code, calls = gcloud([CREATE, [[1, "", "ERROR: ALREADY_EXISTS: li\n"]]], READY, DONE)
    assert code == 0 and count(calls, DELETE) == 0 and "still there and paid for" in capsys.readouterr().out


def test_failed_delete_is_named(gcloud, capsys):
    gcloud(READY, DONE, [DELETE, [[1, "", "backend error\n"]]])
    assert "Deleting failed. TPU li" in capsys.readouterr().out


def test_ctrl_c_leaves_the_run_and_names_it(gcloud, monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(tpu_run.TpuRun, "follow", interrupted)
    code, calls = gcloud(READY)
    assert code == 130 and count(calls, DELETE) == 0 and "queued-resources delete li" in capsys.readouterr().out


def test_dry_run_prints_and_calls_nothing(gcloud, capsys):
    code, calls = gcloud(extra=["--dry_run", "--spot"])
    out = capsys.readouterr().out
    assert code == 0 and not calls and out.count("$ gcloud") == 6 and "--spot" in out


def test_slices_are_asked_for_together_and_every_worker_of_each_is_started(gcloud):
    code, calls = gcloud(READY, DONE, extra=["--slices=2"])
    assert code == 0 and "--node-count=2 --node-prefix=li" in next(call for call in calls if CREATE in call)
    for node in ("li-0", "li-1"):
        assert count(calls, f"ssh {node} --worker=all") == 2 and count(calls, f"{node}:spatial_jax.tar.gz") == 1
    assert all("ssh li-0 --worker=0" in call for call in calls if FOLLOW in call)
    states = [
        "tpu-vm describe",
        [[0, "READY\n", ""], [0, "PREEMPTED\n", ""], [0, "READY\n", ""]],
    ]  # the second slice goes
    code, calls = gcloud(states, DONE, extra=["--slices=2"])
    assert code == 0 and count(calls, DELETE) == 3


def test_a_workload_is_handed_to_xpk(gcloud, tmp_path, capsys):
    (tmp_path / "xpk").write_text((tmp_path / "gcloud").read_text())
    (tmp_path / "xpk").chmod(0o755)
    more = ["--via=xpk", "--cluster=c", "--slices=2", "--spot"]
    code, calls = gcloud(extra=more)
    assert code == 0 and len(calls) == 1 and "goes on there" in capsys.readouterr().out
    for words in (
        "workload create --cluster=c --zone=z --workload=li --tpu-type=v5litepod-16 --num-slices=2",
        "--restart-on-exit-codes=75",
        "--spot",
        "launch.worker --platform=tpu spatial_jax.train --config=configs/debug_cpu.py --workdir=gs://b/w"
        " --config.train.steps=5",
    ):
        assert words in calls[0]
    code, calls = gcloud(["workload delete", [[3, "", "no such workload"]]], extra=[*more, "--action=stop"])
    assert code == 3 and calls[-1] == "workload delete --cluster=c --zone=z --workload=li"
    before = len(calls)
    code, calls = gcloud(extra=[*more, "--dry_run"])
    assert code == 0 and len(calls) == before and "$ xpk workload create" in capsys.readouterr().out


HANGING = """#!/bin/sh
echo "$*" >> {here}/calls
case "$*" in
  *"tail -n +"*) echo "step 1"; sleep 300 & wait;;
  *"tpu-vm describe"*) echo PREEMPTED;;
esac
"""


def test_an_ssh_that_hangs_while_the_tpu_goes_is_noticed_and_ended(tmp_path, monkeypatch):
    (tmp_path / "gcloud").write_text(HANGING.format(here=tmp_path))
    (tmp_path / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    run = tpu_run.TpuRun(Cloud("li", "z", "v5p-8"), [])
    run.silence = 0.2
    with pytest.raises(tpu_run.Lost, match="went while the run was going"):
        run.follow()


def test_a_connection_that_is_quiet_for_long_is_made_anew_where_it_was(gcloud, monkeypatch):
    told = iter([["a\n", "b\n", None, None], ["spatial_jax_exit 0\n"]])
    asked = []

    def lines(line, silence):
        asked.append(" ".join(line))
        yield from next(told)

    monkeypatch.setattr(tpu_run, "lines", lines)
    monkeypatch.setattr(tpu_run.TpuRun, "reconnect", 200.0)
    code, _ = gcloud(READY, extra=["--tries=1"])
    assert code == 0 and "tail -n +1 " in asked[0] and "tail -n +3 " in asked[1]


def test_a_command_that_is_late_is_ended_with_all_it_started(tmp_path):
    began = time.monotonic()
    script = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' & wait"
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run(["sh", "-c", script], 0.5)
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int((tmp_path / "pid").read_text()), 0)
            time.sleep(0.05)


def test_a_run_that_lives_keeps_its_code_and_a_number_given_again_is_no_run(tmp_path):
    folder = tmp_path / tpu_run.FOLDER
    (folder / "code").mkdir(parents=True)
    for words, lives in (("launch.worker", True), ("other", False)):
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)", words])
        (folder / tpu_run.PID).write_text(f"{child.pid}\n")
        try:
            check = subprocess.run(["sh", "-c", f"if {tpu_run.ALIVE}; then exit 0; fi; exit 7"], cwd=tmp_path)
        finally:
            child.kill()
            child.wait()
        assert check.returncode == (0 if lives else 7)
    assert tpu_run.INSTALL.startswith(f"if {tpu_run.ALIVE}") and tpu_run.ALIVE in tpu_run.start_command([])


BAD = ["-x", "--help", "a b", "a;rm -rf /", "$(id)", "a`id`", "a\nb", "A", "ä", "a/../b", "a" * 64, "a-", "'"]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("option", ["name", "zone", "project", "accelerator", "runtime", "cluster"])
def test_names_that_the_cloud_or_a_shell_would_read_otherwise_are_refused(gcloud, capsys, option, value):
    code, calls = gcloud(extra=[f"--{option}={value}"])
    err = capsys.readouterr().err
    assert code == 2 and not calls and f"--{option}=" in err and err.count("\n") == 1


@pytest.mark.parametrize("value", ["-x", "a b", "a;b", "$(id)"])
def test_images_too(gcloud, capsys, value):
    assert gcloud(extra=["--via=xpk", "--cluster=c", f"--image={value}"])[0] == 2


@pytest.mark.parametrize(
    ("action", "words"),
    [("status", "tpu-vm describe"), ("logs", "tail -n 40"), ("stop", "kill -TERM"), ("delete", DELETE)],
)
def test_actions(gcloud, action, words):
    code, calls = gcloud(READY, extra=[f"--action={action}"])
    assert code == 0 and words in calls[-1]


TOLD = ["--name=n", "--zone=z", "--accelerator=v5p-8", "--config=configs/debug_cpu.py", "--workdir=gs://b/w"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--zone=z"], "--name is missing"),
        (["--name=n", "--zone=z", "--accelerator=v5p-8", "--config=c", "--workdir=runs/x"], "give a gs:// path"),
        (["--nme=n"], "unexpected argument --nme"),
        ([*TOLD, "--accelerator=v5p-0"], "v5p-0: give v5p-8, v5p-16, ... to v5p-12288; the number counts cores"),
        ([*TOLD, "--accelerator=v5litepod-2"], "give v5litepod-1, v5litepod-4, v5litepod-8, v5litepod-16, ... to"),
        ([*TOLD, "--accelerator=v6e"], "--accelerator=v6e: give v6e-1, v6e-4"),
        ([*TOLD, "--accelerator=v4-99999999999"], "to v4-8192; the number counts cores"),
        ([*TOLD, "--slices=0"], "--slices=0 must be 1 or more"),
        ([*TOLD, "--tries=-1"], "--tries=-1 must be 1 or more"),
        ([*TOLD, "--pause=nan"], "--pause=nan must be a number above 0"),
        ([*TOLD, "--config=configs/li2025_qwen2_5_vl_70b.py"], "the nearest is"),
        ([*TOLD, "--config=/etc/passwd"], "put the recipe there"),
        ([*TOLD, "--config.train.step=5"], "the nearest is config.train.steps"),
        (["--local=-2", "--config=c", "--workdir=w"], "--local=-2 must be 0 or more"),
        (["--local=2", "--devices_per_process=0", "--config=c", "--workdir=w"], "--devices_per_process=0 must be 1"),
        (["--local=9999", "--config=c", "--workdir=w"], "at most 1024 devices together"),
        ([*TOLD, "--image=python:3.12"], "--image does nothing with --via=gcloud"),
        ([*TOLD, "--devices_per_process=8"], "--devices_per_process does nothing with --via=gcloud"),
        ([*TOLD, "--via=xpk", "--cluster=c", "--keep"], "--keep does nothing with --via=xpk"),
        (["--local=2", "--config=c", "--workdir=w", "--dry_run"], "--dry_run does nothing with --local"),
        (["--local=2", "--action=stop"], "a rehearsal (--local) ends with this program"),
        (["--via=xpk", "--name=n", "--accelerator=v5p-8", "--config=c", "--workdir=gs://b"], "--cluster is missing"),
    ],
)
def test_bad_calls_are_one_line(argv, words, capsys):
    assert tpu_run.main(argv) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_a_type_that_gcloud_has_no_software_for_is_told_where_to_be_had():
    with pytest.raises(CloudError, match=r"tpu7x-128: software version unknown; .*--via=xpk"):
        Cloud("n", "z", "tpu7x-128").create_line()


def test_flags_keep_what_the_user_set():
    flags = xla_flags.environment("tpu", inherited={"LIBTPU_INIT_ARGS": "--xla_enable_async_all_gather=false"})[
        "LIBTPU_INIT_ARGS"
    ]
    assert flags.count("xla_enable_async_all_gather") == 1 and "xla_enable_async_all_gather=false" in flags
    assert xla_flags.environment("cpu", 4, {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"})[
        "XLA_FLAGS"
    ].endswith("=4")
    assert all(
        reason
        for table in (xla_flags.TPU, xla_flags.GPU, xla_flags.GPU_ENVIRONMENT, xla_flags.CPU)
        for _, reason in table.values()
    )


def script(tmp_path, monkeypatch, text):
    (tmp_path / "rehearsed.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.getcwd()}")


def test_rehearsal_joins_processes_with_collectives(tmp_path, monkeypatch):
    script(
        tmp_path,
        monkeypatch,
        f"""
import jax, pathlib
from jax.experimental import multihost_utils
total = multihost_utils.process_allgather(jax.numpy.array(jax.process_index() + 1)).sum()
(pathlib.Path({str(tmp_path)!r}) / f"out_{{jax.process_index()}}").write_text(f"{{total}} {{len(jax.devices())}}")
""",
    )
    assert rehearsal.rehearse(2, 2, ["rehearsed"], tmp_path / "logs") == 0
    assert [(tmp_path / f"out_{i}").read_text() for i in range(2)] == ["3 4", "3 4"]


@pytest.mark.parametrize(("codes", "expected"), [((0, 0), 0), ((75, 75), 75), ((0, 7), 7)])
def test_rehearsal_exit_codes(tmp_path, monkeypatch, codes, expected):
    monkeypatch.setattr(
        rehearsal, "commands", lambda *a: [[sys.executable, "-S", "-c", f"raise SystemExit({code})"] for code in codes]
    )
    assert rehearsal.rehearse(2, 1, ["unused"], tmp_path / "logs", grace=5.0) == expected


def test_rehearsal_ends_the_others_when_one_dies(tmp_path, monkeypatch, capsys):
    lines = ["import time; time.sleep(60)", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(rehearsal, "commands", lambda *a: [[sys.executable, "-S", "-c", line] for line in lines])
    assert rehearsal.rehearse(2, 1, ["unused"], tmp_path / "logs", grace=0.2) == 137
    assert "process 1 ended with exit code -9" in capsys.readouterr().out


def test_processes_have_threads_enough_for_collectives_in_any_order():
    assert (
        int(xla_flags.environment("cpu", 2, {}, 2)["NPROC"]) >= 16
        and xla_flags.environment("cpu", 2, {"NPROC": "3"}, 2)["NPROC"] == "3"
    )
    assert int(xla_flags.environment("cpu", 4, {})["NPROC"]) >= 32 and "NPROC" not in xla_flags.environment(
        "cpu", None, {}
    )

"""One run a folder: a living owner is respected, a dead one's lock is taken over and said."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from spatial_jax.checkpoints.run_lock import FolderTaken, RunLock


def lock(folder, **options):
    return RunLock(folder, **{"beat": 0.05, "patience": 0.4, **options})


def test_a_second_run_is_refused_while_the_first_lives(tmp_path):
    with lock(tmp_path):
        with pytest.raises(FolderTaken, match=f"another training is going on here .process {os.getpid()} on ") as error:
            lock(tmp_path).acquire()
        assert "\n" not in str(error.value)
    with lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reused", [False, True])
def test_the_lock_of_a_dead_process_is_taken_over_at_once_and_said(tmp_path, capsys, reused):
    child = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
    child.wait()
    one = lock(tmp_path)
    pid = os.getpid() if reused else child.pid  # a number that was given again has another start
    (tmp_path / "run.lock").write_text(json.dumps({**one.me, "pid": pid, "start": "1", "token": "old"}))
    with lock(tmp_path, patience=60.0):
        assert "which is gone: taken over" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ['{"host": "elsewhere", "pid": 1, "token": "x"}', "[1]", "[" * 100_000, '{"host": ', "\udcff", "7"]
)
def test_what_cannot_be_asked_is_watched_and_then_taken_over(tmp_path, capsys, text):
    (tmp_path / "run.lock").write_bytes(text.encode("utf-8", "surrogateescape"))
    began = time.monotonic()
    with lock(tmp_path):
        assert time.monotonic() - began > 0.3
    assert "watching it" in capsys.readouterr().err


def test_another_machine_that_gives_signs_of_life_is_respected(tmp_path):
    path, ended = tmp_path / "run.lock", threading.Event()
    path.write_text('{"host": "elsewhere", "pid": 1, "since": "today", "token": "x"}')

    def live():
        while not ended.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(FolderTaken, match=r"on elsewhere, since today.*delete run\.lock if you know"):
            lock(tmp_path).acquire()
    finally:
        ended.set()
        thread.join()


def test_the_owner_gives_signs_of_life_and_notices_what_happens_to_its_folder(tmp_path):
    with lock(tmp_path) as held:
        before = os.stat(held.path).st_mtime_ns
        time.sleep(0.2)
        assert os.stat(held.path).st_mtime_ns > before
        held.check()
        held.path.write_text(json.dumps({**held.me, "token": "another", "host": "elsewhere"}))
        with pytest.raises(FolderTaken, match=r"taken over by process .* on elsewhere"):
            held.check()
        held.path.unlink()
        with pytest.raises(FolderTaken, match="was deleted or moved while the training was going"):
            held.check()


def test_in_a_bucket_the_lock_is_written_again_for_a_sign_of_life(tmp_path):
    held = lock(tmp_path)
    held._remote = True
    with held:
        time.sleep(0.3)
        assert json.loads(held.path.read_text())["beats"] > 0
        other = lock(tmp_path)
        other._remote, other.me["host"] = True, "elsewhere"
        with pytest.raises(FolderTaken):
            other.acquire()
    assert not list(tmp_path.iterdir())


def test_of_many_at_once_one_wins(tmp_path):
    (tmp_path / "run.lock").write_text(json.dumps({**lock(tmp_path).me, "start": "1", "token": "old"}))
    won, locks = [], [lock(tmp_path) for _ in range(8)]

    def take(mine):
        try:
            mine.acquire()
            won.append(mine)
        except FolderTaken:
            pass

    threads = [threading.Thread(target=take, args=(mine,)) for mine in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].release()

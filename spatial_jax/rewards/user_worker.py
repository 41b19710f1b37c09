"""The child process of `user_process`, run as a script: loads one function of one file and answers calls on its
standard streams.

A call is an 8-byte length and a pickled (id, response, record); the answer an 8-byte length and JSON [id, status,
value]. Imports nothing of spatial_jax, so that it starts quickly.
"""

import contextlib
import ctypes
import importlib.util
import inspect
import json
import linecache
import os
import pickle
import resource
import signal
import struct
import sys
import threading
import time
import traceback

HEADER = struct.Struct(">Q")
WATCH_SECONDS = 2.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux


def load(file: str, function: str):
    """The function. ValueError, one line with its place, when the file does not define it as it is called."""
    sys.path.insert(0, os.path.dirname(file))
    spec = importlib.util.spec_from_file_location("user_reward", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"reward user: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f"{error.filename or file} line {error.lineno}"
        raise ValueError(f"reward user: {where}: {type(error).__name__}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"reward user: {file} cannot be loaded: {describe_error(error, file)}") from None
    call = getattr(module, function, None)
    if not callable(call):
        there = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == "user_reward"
        ]
        raise ValueError(
            f"reward user: {file} defines no function {function}" + (f" (it has {', '.join(there)})" if there else "")
        )
    check_signature(call, file, function)
    return call


def check_signature(call, file: str, function: str) -> None:
    """ValueError unless the function can be called with a response and a record."""
    place = f"reward user: {file} line {getattr(getattr(call, '__code__', None), 'co_firstlineno', '?')}"
    if inspect.iscoroutinefunction(call):
        raise ValueError(f"{place}: {function} is async; write a plain function")
    try:
        signature = inspect.signature(call)
    except (ValueError, TypeError):  # some built-ins tell none
        return
    try:
        signature.bind("response", {})
    except TypeError as error:
        raise ValueError(f"{place}: {function}{signature} must take (response, record): {error}") from None


def describe_error(error: BaseException, file: str) -> str:
    """One line: what was raised, and the line of the user's file that it came from."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == file:
            line = linecache.getline(file, frame.lineno or 0).strip()[:120]
            return f"{text} ({os.path.basename(file)} line {frame.lineno}, in {frame.name}: {line})"
    return text


def answer(call, file: str, number: int, response: str, record: dict) -> bytes:
    """JSON of [id, "ok", value] or [id, "error", what was raised and where]."""
    try:
        value = call(response, record)
        if value is not None and not isinstance(value, dict):
            value = float(value)
        return json.dumps([number, "ok", value], default=float).encode()
    except MemoryError as error:
        return json.dumps(
            [number, "error", f"{describe_error(error, file)}: its memory is limited, see user_memory_gib"]
        ).encode()
    except (Exception, SystemExit) as error:
        return json.dumps([number, "error", describe_error(error, file)]).encode()


def descendants(root: int) -> list[int]:
    """Processes that `root` started, or that stand in its session, with all that they started; not itself, nothing that
    has ended. Empty where there is no /proc.
    """
    parents: dict[int, tuple[int, int]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                    state, parent, _, session = file.read().rpartition(b")")[2].split()[:4]
                    if state not in (b"Z", b"X"):
                        parents[int(name)] = int(parent), int(session)
    found, before = {pid for pid, (_, session) in parents.items() if session == root}, -1
    while len(found) > before:
        before = len(found)
        found |= {pid for pid, (parent, _) in parents.items() if parent == root or parent in found}
    return sorted(found - {root})


def end_tree(root: int) -> None:
    """Kills everything that a worker started, also what left its session, then the worker."""
    with contextlib.suppress(OSError):
        if root != os.getpid():
            os.kill(root, signal.SIGSTOP)  # it starts nothing more meanwhile, and keeps its orphans in sight
    until = time.monotonic() + 5.0
    while (left := descendants(root)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.killpg(root, signal.SIGKILL)


def leave_with(parent: int) -> None:
    """Ends this process and all it started when its parent is gone, also in the midst of a call that never returns."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    end_tree(os.getpid())
    os._exit(1)


def main(file: str, function: str, memory_gib: float) -> None:
    """Serves until its input closes. What was standard output carries answers; the user's prints go to standard error,
    and its standard input is empty.
    """
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    if memory_gib > 0:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (int(memory_gib * 2**30),) * 2)
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    call, problem, own = None, "", os.getpid()
    try:
        call = load(file, function)
    except ValueError as error:
        problem = str(error)
    while len(header := source.read(HEADER.size)) == HEADER.size:
        number, response, record = pickle.loads(source.read(HEADER.unpack(header)[0]))
        if call is None:
            data = json.dumps([number, "invalid", problem]).encode()
        else:
            data = answer(call, file, number, response, record)
        if os.getpid() != own:  # the user's function forked, and this is the child: the answer is its parent's
            os._exit(0)
        target.write(HEADER.pack(len(data)) + data)
        target.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))

"""The child process of `user_process`, run as a script: loads one function of one file and answers calls on its
standard streams.

A call is an 8-byte length and a pickled (response, record); the answer an 8-byte length and JSON [status, value].
Imports nothing of spatial_jax, so that it starts quickly.
"""

import importlib.util
import json
import os
import pickle
import struct
import sys
import threading
import time

HEADER = struct.Struct(">Q")
WATCH_SECONDS = 2.0


def load(file: str, function: str):
    """The function. ValueError when the file does not define it; whatever the file raises."""
    sys.path.insert(0, os.path.dirname(file))
    spec = importlib.util.spec_from_file_location("user_reward", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"reward user: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        raise ValueError(f"reward user: {file} defines no function {function}")
    return getattr(module, function)


def answer(call, payload: bytes) -> bytes:
    """JSON of ["ok", value] or ["error", what was raised]."""
    try:
        value = call(*pickle.loads(payload))
        if value is not None and not isinstance(value, dict):
            value = float(value)
        return json.dumps(["ok", value]).encode()
    except Exception as error:
        return json.dumps(["error", f"{type(error).__name__}: {error}"]).encode()


def leave_with(parent: int) -> None:
    """Ends this process when its parent is gone, also in the midst of a call that never returns."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def main(file: str, function: str) -> None:
    """Serves until its input closes. What was standard output carries answers; the user's prints go to standard
    error.
    """
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    call, problem = None, ""
    try:
        call = load(file, function)
    except ValueError as error:
        problem = str(error)
    except Exception as error:
        problem = f"reward user: {file} cannot be loaded: {type(error).__name__}: {error}"
    while len(header := source.read(HEADER.size)) == HEADER.size:
        payload = source.read(HEADER.unpack(header)[0])
        data = answer(call, payload) if call is not None else json.dumps(["invalid", problem]).encode()
        target.write(HEADER.pack(len(data)) + data)
        target.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

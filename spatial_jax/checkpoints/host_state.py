"""The host's part of a checkpoint as JSON: iterator states, curriculum, pending refills. Exact round trip or a named
error.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

_BYTES = "__bytes__"


def _encode(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value
    if isinstance(value, np.integer | np.floating | np.bool_):
        return value.item()
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, list | tuple):
        return [_encode(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key == _BYTES:
                raise TypeError(f"{path} has the key {key!r}; JSON keeps only text keys (and {_BYTES!r} is taken)")
        return {key: _encode(item, f"{path}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{path} is a {type(value).__name__}; a checkpoint's host state takes None, bool, int, float, str, bytes, list"
        " and dict"
    )


def _decode(pairs: dict) -> Any:
    return base64.b64decode(pairs[_BYTES]) if set(pairs) == {_BYTES} else pairs


def encode_host_state(state: Any) -> bytes:
    """UTF-8 JSON of nested dicts (text keys), lists, numbers, text, bytes and None. Tuples come back as lists.
    TypeError names the place of anything else.
    """
    return json.dumps(_encode(state, "host_state"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def decode_host_state(data: bytes) -> Any:
    """What `encode_host_state` was given."""
    return json.loads(data.decode("utf-8", "surrogatepass"), object_hook=_decode)

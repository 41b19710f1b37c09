"""A least-recently-used store bounded by bytes, safe for several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class ByteCache:
    """Values by key, at most `limit` bytes in all (0 keeps nothing); the oldest used goes first. A value larger than
    the limit is not kept.
    """

    def __init__(self, limit: int):
        self.limit, self.used, self.hits, self.misses = limit, 0, 0, 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit}  # a worker process starts with an empty cache

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["limit"])  # type: ignore[misc]

    def get(self, key: Hashable) -> Any:
        """The value, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keeps `value` of `size` bytes under `key`."""
        if size > self.limit:
            return
        with self._lock:
            old = self._values.pop(key, None)
            self.used += size - (old[1] if old else 0)
            self._values[key] = (value, size)
            while self.used > self.limit:
                _, (_, freed) = self._values.popitem(last=False)
                self.used -= freed

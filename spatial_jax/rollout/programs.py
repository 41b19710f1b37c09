"""Counting of compiled programs: every new combination of static shapes is announced once."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Programs:
    """The programs one owner has asked XLA to compile; `limit` is a bound to warn at, not to stop at."""

    def __init__(self, owner: str, limit: int):
        self.owner, self.limit = owner, limit
        self.seen: list[str] = []
        self._warned = False

    def note(self, kind: str, **shapes: object) -> None:
        """Call before running a jitted function; prints the program if it is new."""
        name = f"{kind}({', '.join(f'{key}={value}' for key, value in shapes.items())})"
        if name in self.seen:
            return
        self.seen.append(name)
        log.info("%s: compiles program %d: %s", self.owner, len(self.seen), name)
        if len(self.seen) > self.limit and not self._warned:
            self._warned = True
            log.warning("%s: more than %d programs; use fewer prompt, patch or answer buckets", self.owner, self.limit)

    def __len__(self) -> int:
        return len(self.seen)

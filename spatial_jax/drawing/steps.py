"""What a conversation drew, turn by turn, and why it ended: what ViLaSR's ablation counts (arXiv 2506.09965)."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence

from spatial_jax.blocks import assistant_turns, strip_end_marks
from spatial_jax.drawing.album import Album
from spatial_jax.drawing.grammar import parse
from spatial_jax.drawing.tool import DrawingError, Operation, Size
from spatial_jax.drawing.tools import PUBLISHED, TOOLS

# Why a conversation ended; what is not here is a DrawingError's reason.
ANSWER, LENGTH, LIMIT = "answer", "length", "limit"


@dataclasses.dataclass(frozen=True)
class Steps:
    """The operations of each drawing turn that were carried out, the policy's turns, and why the last one was the last:
    "answer", "length" (cut off by the tokens of a turn), "limit" (of turns or of tokens in all), or what is wrong with
    its operations ("no_operation", "no_picture", "pictures", "repeat", "nothing_seen").
    """

    drawn: tuple[tuple[Operation, ...], ...]
    turns: int
    ended: str

    def count(self, kind: str) -> int:
        """Operations of a tool."""
        return sum(o.kind == kind for step in self.drawn for o in step)

    @property
    def reflective(self) -> bool:
        return reflects(self.drawn)


def reflects(steps: Iterable[Sequence[Operation]], kinds: Sequence[str] = ("box",)) -> bool:
    """Whether a label comes again at another step with other numbers: the published definition of reflection. Labels
    are compared letter by letter, and as in the released code only those of boxes.
    """
    seen: dict[tuple[str, str], set[tuple[float, ...]]] = {}
    for step in steps:
        now: dict[tuple[str, str], set[tuple[float, ...]]] = {}
        for o in step:
            if o.kind in kinds:
                now.setdefault((o.kind, o.label), set()).add(o.points)
        if any(points - seen[key] for key, points in now.items() if key in seen):
            return True
        for key, points in now.items():
            seen.setdefault(key, set()).update(points)
    return False


def figures(found: Sequence[Steps]) -> dict[str, float]:
    """Means over conversations, by name: "turns", operations of each tool ("box", "path", "crop"); shares:
    "reflective", "ended_REASON".
    """
    count = max(len(found), 1)
    out = {"turns": sum(s.turns for s in found) / count}
    out |= {name: sum(s.count(name) for s in found) / count for name in TOOLS}
    out["reflective"] = sum(s.reflective for s in found) / count
    reasons = collections.Counter(s.ended for s in found)
    return out | {f"ended_{reason}": number / count for reason, number in sorted(reasons.items())}


def follow(
    response: str,
    sizes: Sequence[Size],
    *,
    most: int = 1_000,
    tools: Sequence[str] = PUBLISHED,
    fit: Callable[[Size], Size] = lambda size: size,
    near: float | None = 0.0,
    cut: bool = False,
) -> Steps:
    """The steps of a conversation in chat markup on pictures of these (width, height). `most`: pictures; `cut`: whether
    its last turn was cut off. Nothing is raised, whatever a policy wrote.
    """
    said = assistant_turns(strip_end_marks(response))
    album, drawn, ended = Album(sizes, fit, near), list[tuple[Operation, ...]](), LIMIT
    for number, turn in enumerate(said, 1):
        last = number == len(said)
        if last and "<answer>" in turn and "</answer>" in turn:
            ended = ANSWER
            break
        if last and cut:
            ended = LENGTH
            break
        try:
            operations = parse(turn, tools)
            album.draw(operations, most)
        except DrawingError as error:
            ended = error.reason
            break
        if not last:  # what nobody looked at is no step
            drawn.append(tuple(operations))
    return Steps(tuple(drawn), len(said), ended)

"""ViLaSR (arXiv 2506.09965): 0.5 * accuracy + 0.5 * format, paid only where the answer is at least partly right."""
from __future__ import annotations

import json
import re

from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec, check_choice
from spatial_jax.rewards.kinds.mra import mean_relative_accuracy
from spatial_jax.rewards.parsing.numbers import first_number
from spatial_jax.rewards.parsing.tags import assistant_turns, block, has_content, strip_end_marks

_ACTION = re.compile(r"\s*Action:")
_FENCE, _CLOSE = "```json", "```"
_NUMERIC = ("number",)


def _answer(text: str) -> str:
    """The first answer block's content, the whole turn where there is none."""
    start = text.find("<answer>")
    end = text.find("</answer>", start) if start >= 0 else -1
    return (text[start + len("<answer>"):end] if end >= 0 else text).strip()


def _accuracy(last_turn: str, record: Record, comparison: str) -> float:
    """Choice and words: equality after stripping, case counts. Numbers: MRA of the first number."""
    answer, truth = _answer(last_turn), _answer(str(record["answer"]))
    if record.get("question_type") not in _NUMERIC:
        return float(has_content(answer) and answer == truth)
    predicted, true = first_number(answer), first_number(truth)
    return mean_relative_accuracy(predicted, true, comparison) if predicted is not None and true is not None else 0.0


def json_blocks(turn: str) -> list[str]:
    """Text of every fenced block whose opening line is exactly ```json."""
    blocks: list[str] = []
    lines: list[str] | None = None
    for line in turn.splitlines():
        if lines is None:
            lines = [] if line.strip() == _FENCE else None
        elif line.strip() == _CLOSE:
            blocks.append("\n".join(lines))
            lines = None
        else:
            lines.append(line)
    if lines is not None:
        blocks.append("\n".join(lines))
    return blocks


def _is_operation(item: object) -> bool:
    """A box (bbox_2d of four numbers, label) or a path (two points of two numbers, label). `index` is not required."""
    if not isinstance(item, dict) or not isinstance(item.get("label"), str):
        return False

    def numbers(key: str, count: int) -> bool:
        value = item.get(key)
        return isinstance(value, list) and len(value) == count and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)

    return numbers("bbox_2d", 4) or (numbers("start_point_2d", 2) and numbers("end_point_2d", 2))


def _valid_block(text: str) -> bool:
    """A JSON list (single quotes are accepted, as by the released parser) of operations."""
    if len(text) > 100_000:
        return False
    for candidate in (text, text.replace("'", '"')):
        try:
            items = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return isinstance(items, list) and len(items) > 0 and all(_is_operation(item) for item in items)
    return False


def matches_protocol(turns: list[str]) -> bool:
    """Every turn is a think block with content followed by "Action:"; one answer block, in the last turn; all tool blocks are valid."""
    for number, turn in enumerate(turns):
        last = number == len(turns) - 1
        thought = block(turn, "think")
        if thought is None or not has_content(thought) or not turn.startswith("<think>"):
            return False
        rest = turn[turn.index("</think>") + len("</think>"):]
        if not _ACTION.match(rest) or (block(turn, "answer") is None) == last:
            return False
        if not last and ("<answer>" in turn or "</answer>" in turn):
            return False
        if not all(_valid_block(text) for text in json_blocks(turn)):
            return False
    return bool(turns)


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """The response is the whole conversation in chat markup (as the tokens decode, tool turns included), or one turn."""
    turns = assistant_turns(strip_end_marks(response))
    right = _accuracy(turns[-1] if turns else "", record, spec["comparison"])
    form = float(matches_protocol(turns))
    return Score(0.5 * right + 0.5 * form if right > 0 else 0.0, right, form)


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "comparison", ("<", "<="))
    truth = _answer(str(record["answer"]))
    if not has_content(truth) or (record.get("question_type") in _NUMERIC and first_number(truth) is None):
        raise ValueError(f"answer {record['answer']!r} cannot be compared with for question_type {record.get('question_type')!r}")


KIND = Kind("vilasr", {"comparison": "<"}, score, _check)

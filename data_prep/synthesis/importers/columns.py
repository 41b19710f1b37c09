"""Which column of a row is the question, the answer, the pictures; and what was found, told at the end of an import."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

from data_prep.synthesis.importers.rows import BadRow, is_missing, picture_items
from spatial_jax.reading import parse_json

# The usual names, the likeliest first: EasyR1 has problem, TRL prompt, LLaMA-Factory instruction or conversations.
NAMES: dict[str, tuple[str, ...]] = {
    "question": ("problem", "question", "prompt", "query", "instruction", "messages", "conversations", "conversation"),
    "answer": (
        "answer",
        "solution",
        "ground_truth",
        "reward_model",
        "gt_answer",
        "correct_answer",
        "label",
        "target",
        "completion",
        "response",
        "output",
        "answers",
    ),
    "images": (
        "images",
        "image",
        "image_path",
        "image_paths",
        "img",
        "img_path",
        "picture",
        "pictures",
        "file_name",
        "image_file",
    ),
    "options": ("options", "choices"),
    "type": ("question_type", "answer_type", "problem_type", "data_type", "type"),
    "family": ("family", "category", "task", "subtask"),
    "unit": ("unit", "units"),
    "scene": ("scene_id", "scene_name", "scene", "video_id", "video_path", "video"),
    "reward": ("reward",),
    # Of conversations that are learned word for word (--import=alpaca and sharegpt) only.
    "input": ("input",),
    "system": ("system",),
    "history": ("history",),
}
_TALKS = ("conversations", "messages", "conversation")
_ROLES = {
    **dict.fromkeys(("human", "user", "observation", "tool"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "bot", "function_call"), "assistant"),
}


def parse_columns(text: str) -> dict[str, str]:
    """{"question": column, ...} out of "question=my_column,answer=other". ValueError naming what is unknown."""
    chosen = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        role, sign, column = entry.partition("=")
        if role not in NAMES or not sign or not column:
            raise ValueError(f"--columns: {entry!r}; give ROLE=COLUMN with one of {', '.join(NAMES)}")
        chosen[role] = column
    return chosen


class Found:
    """What an import read as what: columns by role, kinds of answers with their rewards, and remarks, all counted."""

    def __init__(self, columns: Mapping[str, str] | None = None):
        self.chosen = dict(columns or {})
        self.columns: dict[str, collections.Counter[str]] = {role: collections.Counter() for role in NAMES}
        self.answers: collections.Counter[str] = collections.Counter()
        self.remarks: collections.Counter[str] = collections.Counter()
        self.there: dict[str, None] = {}  # columns of the first rows, in their order
        self.rows = 0

    def look(self, row: Mapping[str, Any]) -> None:
        """Counts a row and remembers its columns."""
        self.rows += 1
        if self.rows <= 100:
            self.there.update(dict.fromkeys(map(str, row)))

    def value(self, row: Mapping[str, Any], role: str) -> tuple[str, Any]:
        """(column, value) of a role in a row; ("", None) where the row has none."""
        names = (self.chosen[role],) if role in self.chosen else NAMES[role]
        for name in names:
            value = row.get(name)
            if not is_missing(value) and not (isinstance(value, (str, list, dict, bytes)) and len(value) == 0):
                return name, value
        return "", None

    def missing(self, role: str) -> BadRow:
        """The reason of a row without a column for `role`."""
        if role in self.chosen:
            return BadRow(f"column {self.chosen[role]} is missing or empty")
        return BadRow(f"no column reads as the {role}")

    def lines(self) -> list[str]:
        """What was found, one line each."""
        used = {role: counts for role, counts in self.columns.items() if counts}
        out = [
            f"read as {role}: " + ", ".join(f"column {name!r} ({n} rows)" for name, n in counts.most_common(6))
            for role, counts in used.items()
        ]
        out += [f"answers: {n} x {text}" for text, n in self.answers.most_common(12)]
        out += [f"note: {text} ({n} rows)" for text, n in self.remarks.most_common(12)]
        unused = [name for name in self.there if not any(name in counts for counts in used.values())]
        if self.there:
            label = "not used" if used else "columns"
            out.append(f"{label}: {', '.join(unused[:20]) or 'no other column'}")
        return out

    def advice(self, reasons: Mapping[str, int], form: str = "") -> str:
        """What to do where no row could be read, by the reasons of the rows; `form`: the published one they were to
        have.
        """
        if not reasons and not self.rows:
            return "it holds no row; export it again, or name another file with --path"
        if any(reason.startswith("picture file is missing") or "leaves the folder" in reason for reason in reasons):
            return "give the folder that holds the pictures, or that their paths start from with --images=DIR"
        missing = [role for role in ("question", "answer") if str(self.missing(role)) in reasons]
        if form in ("alpaca", "sharegpt", "ssrl"):  # whose cold start is released in alpaca's form
            other = "sharegpt" if self.there.keys() & set(_TALKS) else "alpaca" if "instruction" in self.there else form
            if other != form:
                return f"its columns are those of --import={other}"
            if any(reason.startswith(("field ", "no conversation")) for reason in reasons):
                missing = ["question"] if form == "sharegpt" else ["question", "answer"]
        elif form and not missing:
            return f"is this the published form {form}? rows of your own are read by --import=questions"
        if not missing or not self.there:
            return "mend the rows that are named above"
        wanted = ",".join(f"{role}=COLUMN" for role in missing)
        return f"the columns are {', '.join(list(self.there)[:20])}; say which is which with --columns={wanted}"


def message_turns(value: Any) -> list[tuple[str, str, list[Any]]] | None:
    """(role, text with <image> marks, pictures inside) of each turn of a conversation given as chat messages (also in
    JSON, or one message); None where the value is none. BadRow for a turn that cannot be read.
    """
    if isinstance(value, str) and value.lstrip().startswith(("[{", "{")):
        try:
            value = parse_json(value)
        except ValueError:
            return None
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        return None
    turns = []
    for turn in value:
        role = str(turn.get("role") or turn.get("from")).lower()
        if role not in ("system", *_ROLES):
            raise BadRow("conversation holds a turn of unknown role")
        text, items = _content(turn["content"] if turn.get("content") is not None else turn.get("value"))
        turns.append((_ROLES.get(role, "system"), text, items))
    return turns


def _content(content: Any) -> tuple[str, list[Any]]:
    """(text with a mark for every picture, the pictures that stand in it) of a message's content; BadRow for a part
    that is neither text nor picture: left out, the turn would be about something that is not there.
    """
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return "" if content is None else str(content), []
    text, items = "", []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else ""
        if isinstance(part, str):
            text += part
        elif not isinstance(part, dict):
            raise BadRow("message holds a part that is neither text nor picture")
        elif kind in ("image", "image_url", "input_image") or part.get("image") or part.get("image_url"):
            found = part.get("image") or part.get("image_url") or part.get("url") or part.get("path")
            items += picture_items(found)
            text += "<image>"
        elif "video" in str(kind):
            raise BadRow("message shows a video: give its frames as images")
        elif isinstance(part.get("text"), str):
            text += part["text"]
        else:
            raise BadRow("message holds a part that is neither text nor picture")
    return text, items

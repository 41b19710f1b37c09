r"""Blocks of a response: <think>, <observe>, <answer>, the last \boxed{...}, and the turns of a conversation. What a
whole response must look like is the table of forms.py.
"""

from __future__ import annotations

import re

_KNOWN = ("think", "observe", "answer")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z_]{0,30}\s{0,4}/?>")
_BOXED = "\\boxed{"
_BRACE = re.compile(r"[{}]")
_MATH = re.compile(r"\\\[|\\\]|\\\(|\\\)|\$")
_CONTENT = re.compile(r"[^\W_]")
_TURN_START = "<|im_start|>"
_TURN_END = "<|im_end|>"
_FINAL_MARKS = (_TURN_END, "<|endoftext|>", "</s>")


def strip_end_marks(text: str) -> str:
    """`text` without the end-of-turn marks a decoder may leave at its end."""
    text = text.rstrip()
    end = len(text)
    while end > 0:
        mark = next((m for m in _FINAL_MARKS if text.endswith(m, 0, end)), None)
        if mark is not None:
            end -= len(mark)
        elif text[end - 1].isspace():
            end -= 1
        else:
            break
    return text[:end]


def assistant_turns(response: str) -> list[str]:
    """The assistant's turns of a response that holds a whole conversation in chat markup; a plain response is its one
    turn. The first turn has no header: the prompt ends with it.
    """
    turns = []
    for number, part in enumerate(response.split(_TURN_START)):
        if number and not part.startswith("assistant"):
            continue
        turns.append(strip_end_marks(part.removeprefix("assistant") if number else part).strip())
    return turns


def block(text: str, tag: str) -> str | None:
    """Content of the block `<tag>...</tag>` when there is exactly one; None when it is missing, doubled, unclosed or
    nested.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    if text.count(opening) != 1 or text.count(closing) != 1:
        return None
    start, end = text.index(opening) + len(opening), text.index(closing)
    return text[start:end].strip() if start <= end else None


def first_block(text: str, tag: str = "answer") -> str | None:
    """Stripped content of the first `<tag>` up to the next `</tag>`, None without one: what released rewards and
    evaluations read.
    """
    start = text.find(f"<{tag}>")
    end = text.find(f"</{tag}>", start) if start >= 0 else -1
    return text[start + len(tag) + 2 : end].strip() if end >= 0 else None


def last_boxed(text: str) -> str | None:
    r"""Content of the last \boxed{...} with balanced braces, None without one."""
    found = boxed_spans(text, only_last=True)
    return text[found[-1][0] + len(_BOXED) : found[-1][1] - 1] if found else None


def boxed_spans(text: str, only_last: bool = False) -> list[tuple[int, int]]:
    r"""Spans of the outermost balanced \boxed{...}, in order. One pass over the braces: linear in the text."""
    openings = {m.start() for m in re.finditer(re.escape(_BOXED), text)}
    if not openings:
        return []
    spans, stack = [], []
    for brace in _BRACE.finditer(text):
        if brace.group() == "{":
            stack.append(brace.start())
        elif stack:
            start = stack.pop() - len(_BOXED) + 1
            if start in openings:
                spans.append((start, brace.end()))
    if only_last:
        return [max(spans)] if spans else []
    outer: list[tuple[int, int]] = []
    for span in sorted(spans):
        if not outer or span[0] >= outer[-1][1]:
            outer.append(span)
    return outer


def has_content(text: str) -> bool:
    """At least one letter or digit: dots and dashes are not content."""
    return _CONTENT.search(text) is not None


def is_blocks(text: str, tags: tuple[str, ...]) -> bool:
    """Exactly these blocks in this order, each once and with content, only white space between and around."""
    if any(text.count(f"<{tag}>") != (tag in tags) or text.count(f"</{tag}>") != (tag in tags) for tag in _KNOWN):
        return False
    position = 0
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        if not text.startswith(opening, position):
            return False
        end = text.find(closing, position)
        content = text[position + len(opening) : end] if end >= 0 else ""
        if not has_content(content) or (tag != "answer" and _TAG.search(content)):
            return False
        position = end + len(closing)
        while position < len(text) and text[position].isspace():
            position += 1
    return position == len(text)


def is_think_boxed(text: str) -> bool:
    r"""One think block with content, then one \boxed{...} with content; between and around only white space and math
    delimiters.
    """
    end = text.find("</think>")
    if end < 0 or not is_blocks(text[: end + len("</think>")], ("think",)):
        return False
    rest = text[end + len("</think>") :]
    spans = boxed_spans(rest)
    if len(spans) != 1 or rest.count(_BOXED) != 1 or _TAG.search(rest):
        return False
    ((start, stop),) = spans
    outside = _MATH.sub("", rest[:start]) + _MATH.sub("", rest[stop:])
    return has_content(rest[start + len(_BOXED) : stop]) and outside.strip() in ("", ".")


def bare_text(text: str) -> str:
    """The text without its tags and the name of the box: what is left of an empty answer is nothing."""
    return _TAG.sub("", text).replace("\\boxed", "")

"""VLMEvalKit's spatial_bench matching: an option letter or a number out of free text, without a judge.

Used there for VSI-Bench, SPAR-Bench, SPBench, MMSI, ViewSpatial, MindCube, EmbSpatial and OmniSpatial.
"""

from __future__ import annotations

import re

from spatial_jax.evals.numbers import UNITS_TO_TWENTY

_ZERO_WIDTH = re.compile("[\u200b\u200c\u200d\ufeff]")
_NUMBER_TEXT = r"[-+]?(?:\d*\.\d+|\d+)(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(_NUMBER_TEXT)
_OPEN = r"<\s*answer\b[^>]{0,300}>\s*"
_CLOSE = re.compile(r"<\s*/\s*answer\s*>", re.IGNORECASE)
_BLOCK_LETTER = re.compile(_OPEN + r"([A-J])", re.IGNORECASE)
_BLOCK_NUMBER = re.compile(_OPEN + rf"({_NUMBER_TEXT})(?:[^\d<][^<]*)?<\s*/\s*answer\s*>", re.IGNORECASE)
_BEFORE_TAG = tuple(
    re.compile(rf"(?<![A-Za-z])[(\[{{（【]?\s*([A-F])\s*[)\]}}）】]?\s*</\s*{tag}\s*>", re.IGNORECASE)
    for tag in ("answer", "think")
)
_END_THINK = re.compile(r"</\s*think\s*>", re.IGNORECASE)
_START_THINK = re.compile(r"<\s*think\s*>", re.IGNORECASE)
_OPTION_LINE = re.compile(r"^[*_>\-\s]*(?:option|选项)\s+[A-J]\s*[:：]", re.IGNORECASE)
_ONLY_LETTER = re.compile(r"\s*[*_`>（）\[\]【】()]*\s*([A-Fa-f])\s*[*_`（）\[\]【】()]*\s*")
_LABEL = re.compile(r"\s*([A-F])\s*[.．:：)\]】、-]\s+", re.IGNORECASE)
# The published forms also allow brackets and blanks before a letter and blanks after it; whatever those take, these
# shorter ones match the same letters, in linear time.
_INLINE = re.compile(r"(?<![A-Za-z])([A-F])[*_`）\]})]*(?=$|[\s.,:;!?)\]】》」』，。；、：）])")
_PHRASE = re.compile(
    r"(?:final\s*answer|the\s*answer\s*is|answer(?:\s*is)?|correct\s*answer|答案|最终答案|结论|所以|因此|我选(?:择)?|选择|选)"
    r"\s*[:：>＝=]?\s*[(\[{（【]?\s*([A-F])\s*[)\]}）】]?(?:\b|[.)、。])",
    re.IGNORECASE,
)
_ANYWHERE = re.compile(r"(?<![A-Za-z])([A-F])(?![A-Za-z])")
_NUMBER_WORD = re.compile(r"\b(" + "|".join(sorted(UNITS_TO_TWENTY, key=len, reverse=True)) + r")\b", re.IGNORECASE)
_BLANKS = re.compile(r"(\s)\s+")
_TAIL, _LINES, _LONG = 800, 6, 200


def _from_lines(text: str) -> str | None:
    """Letter of the last line that has one: alone on it, as its label, or as its only inline capital."""
    for raw in reversed(text.splitlines()[-_LINES:]):
        line = raw.strip()
        if not line or _OPTION_LINE.search(line):
            continue
        match = (_ONLY_LETTER.fullmatch(line) if len(line) <= _LONG else None) or _LABEL.match(line)
        if match:
            return match.group(1).upper()
        unique = set(_INLINE.findall(line))
        if len(unique) == 1:
            return unique.pop()
    return None


def after_think(text: str) -> str:
    """Text after the last </think>, or after the last <think> when none is closed, or all of it."""
    for pattern in (_END_THINK, _START_THINK):
        marks = list(pattern.finditer(text))
        if marks:
            return text[marks[-1].end() :].strip()
    return text


def match_option(response: str) -> str | bool:
    """The option letter in VLMEvalKit's order of trust, False when nothing fits."""
    text = _ZERO_WIDTH.sub("", response.strip())
    # an opened block counts only if it is closed somewhere after its letter
    closes = list(_CLOSE.finditer(text))
    if closes:
        block = _BLOCK_LETTER.search(text)
        if block and closes[-1].start() >= block.end():
            return block.group(1).upper()
    tail = text[-_TAIL:]
    for pattern in _BEFORE_TAG:
        match = pattern.search(tail)
        if match:
            return match.group(1).upper()
    picked = _from_lines(after_think(text)) or _from_lines(tail)
    if picked:
        return picked
    match = _PHRASE.search(_BLANKS.sub(r"\1", text))
    if match:
        return match.group(1).upper()
    kept = "\n".join(line for line in text.splitlines() if not _OPTION_LINE.search(line))
    unique = set(_ANYWHERE.findall(kept))
    return unique.pop() if len(unique) == 1 else False


def option_score(response: str, gold: str) -> tuple[float, str | None]:
    """(score, letter or None): both sides read by `match_option`, compared as lower-case strings (False equals False,
    as there).
    """
    predicted, truth = match_option(response), match_option(str(gold).strip())
    return float(str(predicted).lower() == str(truth).lower()), str(predicted) if predicted else None


def match_number(response: str) -> float | None:
    """The number VLMEvalKit reads: number words up to twenty become digits one by one ("twenty-one" ends in -1), then
    the number that starts <answer>, else the last one after the thinking, else the last of the text.
    """
    text = _NUMBER_WORD.sub(lambda m: str(UNITS_TO_TWENTY[m.group(1).lower()]), _ZERO_WIDTH.sub("", response.strip()))
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1].split(",")[0]
    if _CLOSE.search(text):
        block = _BLOCK_NUMBER.search(text)
        if block:
            return float(block.group(1))
    for part in (after_think(text), text):
        numbers = _NUMBER.findall(part)
        if numbers:
            return float(numbers[-1])
    return None

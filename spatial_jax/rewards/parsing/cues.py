"""Where in a response its answer stands: the scope (a box, an answer block, what follows the thinking), the phrases
that announce an answer in eight languages, the sentence that follows one, and what denies a mention.

Patterns are bounded or begin at a fixed word, so every function is linear in the text's length.
"""

from __future__ import annotations

import re

from spatial_jax.blocks import boxed_spans
from spatial_jax.rewards.parsing.text import fold

_BLOCK = re.compile(r"<answer>", re.IGNORECASE)
_BLOCK_END = re.compile(r"</answer>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|observe)>", re.IGNORECASE)
_BETWEEN_BOXES = re.compile(
    r"[\s$,;/|.&]{0,20}(?:or|and|oder|und|ou|et|o|y|\u6216|\u548c)?[\s$,;/|.&]{0,20}", re.IGNORECASE
)

_IS = r"\s{0,4}(?:is|was|would\s{1,3}be|should\s{1,3}be|must\s{1,3}be|=|:|->|\u2192)"
# Cues that begin at a word's edge, in the alphabet's languages, and those of Chinese, Japanese and Korean. The letters
# that each begins with are asked first: they bound the time.
_WORDS = (
    # English
    rf"(?:answer|choice|option|result){_IS}",
    r"answer\s{1,3}(?=[(\[]?[A-Z][)\]]?(?![A-Za-z0-9']))",
    r"I(?:\s{1,3}would|\s{1,3}will|'d|'ll)?\s{1,3}(?:choose|pick|select|go\s{1,3}with|say|answer|guess)\b",
    # Spanish, German, French, Russian
    r"(?:respuesta|opci\u00f3n|soluci\u00f3n)(?:\s{1,3}(?:correcta|final))?\s{0,3}(?:es\b|ser\u00eda\b|=|:)",
    r"(?:antwort|l\u00f6sung|ergebnis)\s{0,3}(?:ist\b|lautet\b|w\u00e4re\b|=|:)",
    r"(?:r\u00e9ponse|solution|r\u00e9sultat)(?:\s{1,3}(?:correcte|finale))?\s{0,3}(?:est\b|serait\b|=|:)",
    r"\u043e\u0442\u0432\u0435\u0442\s{0,3}(?:-|\u2013|=|:)",
)
_SIGNS = (
    "\u7b54\u6848(?:\u5e94\u8be5|\u5e94|\u5c31)?(?:\u662f|\u4e3a|\u70ba|\u9009|\\s{0,3}:)",
    "(?:\u6b63\u786e|\u6700\u7ec8)(?:\u9009\u9879|\u7b54\u6848|\u7ed3\u679c)(?:\u662f|\u4e3a|\\s{0,3}:)",
    "(?:\u6211|\u5e94\u8be5?|\u6545|\u56e0\u6b64|\u6240\u4ee5|,|\u3002|^)"
    "\\s{0,2}(?:\u9009|\u9078)(?:\u62e9|\u9879)?(?:\u662f)?",
    "(?:\u7b54\u3048|\u6b63\u89e3|\u56de\u7b54)(?:\u306f|\\s{0,3}:)",
    "(?:\uc815\ub2f5|\ub2f5)(?:\uc740|\\s{0,3}:)",
)
_CUE = re.compile(
    "(?:\\b(?=[acilosre\u043e])(?:"
    + "|".join(_WORDS)
    + ")|(?=[\u7b54\u6b63\u6700\u6211\u5e94\u6545\u56e0\u6240,\u3002\u9009\u9078\u56de\uc815\ub2f5\\s])(?:"
    + "|".join(_SIGNS)
    + "))\\s{0,4}:?",
    re.IGNORECASE | re.MULTILINE,
)
_POSTFIX = re.compile(
    r"(?<![A-Za-z0-9'-])([A-Z])[)\]\"'.]?\s{1,3}(?:is|seems|looks)\s{1,3}(?:(?:the|most\s{1,3}likely)\s{1,3}){0,2}"
    r"(?:correct|right|best|answer|true)\b"
)
_SENTENCE_END = re.compile(
    r"[!?](?=\s|$)|(?<![0-9])\.(?=\s|$)|(?<=[0-9])\.(?=\s{1,4}[A-Z]|\s*$)|[\u3002\uff01\uff1f\n]"
)
_NEGATION = re.compile(
    r"(?:\b(?:not|cannot|never|neither|nor|except|without|rather\s+than|instead\s+of|as\s+opposed\s+to"
    r"|nicht|kein(?:e|er|en)?|pas|ni|no\s+es|no|non)\s+|n't\s+"
    r"|\u800c\u4e0d\u662f|\u4e0d\u662f|\u5e76\u975e|\u4e0d\u9009|\u975e)"
    r"(?:(?:option|the|a|an|(?:to|on|in|at)(?:\s+the)?|be|choice|\u9009\u9879|la|el|die|der|das|le)\s*)?"
    r"(?:[(\"'*]{0,2}[A-Z][)\"'*.]{0,2}\s*(?:,|or|nor|and|/)\s*|[(\"']{0,2}[A-Z][).:]\s*)?[(\"'*]{0,3}$",
    re.IGNORECASE,
)


def answer_scope(text: str) -> str | None:
    """The part of a response that holds its answer: the content of its <answer> block, else of its last \\boxed{}, else
    what follows the last </think>, else all of it. None when it holds different answers side by side: several blocks,
    or boxes joined by "or".
    """
    blocks = _blocks(text)
    if blocks:
        return blocks[0] if len({fold(content) for content in blocks}) == 1 else None
    ends = [match.end() for match in _THOUGHT_END.finditer(text)]
    rest = text[ends[-1] :] if ends and text[ends[-1] :].strip() else text
    spans = boxed_spans(rest)
    if not spans:
        return rest
    contents = [rest[start + len("\\boxed{") : end - 1] for start, end in spans]
    if len(spans) > 1 and fold(contents[-1]) != fold(contents[-2]):
        between = rest[spans[-2][1] : spans[-1][0]]
        if len(between) < 48 and _BETWEEN_BOXES.fullmatch(between):
            return None
    # a box inside the last box, as released graders write it
    inner = boxed_spans(contents[-1])
    return contents[-1] if not inner else contents[-1][inner[-1][0] + len("\\boxed{") : inner[-1][1] - 1]


def _blocks(text: str) -> list[str]:
    contents, position = [], 0
    while (start := _BLOCK.search(text, position)) is not None:
        end = _BLOCK_END.search(text, start.end())
        if end is None:
            break
        contents.append(text[start.end() : end.start()].strip())
        position = end.end()
    return [content for content in contents if content]


def claims(text: str, most: int = 8) -> list[str]:
    """What the last `most` announcements of an answer say ("the answer is ...", "B is correct"), the last first, each
    to the end of the text.
    """
    found = [(match.end(), text[match.end() :]) for match in list(_CUE.finditer(text))[-most:]]
    found += [(match.end(), match.group(1)) for match in list(_POSTFIX.finditer(text))[-most:]]
    return [claim for _, claim in sorted(found, key=lambda entry: -entry[0])]


def after_cue(text: str) -> str | None:
    """What follows the last "answer is", "answer:" or their like in the other languages, None when there is no such
    cue.
    """
    ends = [match.end() for match in _CUE.finditer(text)]
    return text[ends[-1] :] if ends else None


def first_sentence(text: str) -> str:
    """The first sentence of a text, without its end mark. A full stop inside a number or after a label ("B. chair") at
    the start does not end it.
    """
    text = text.lstrip()
    label = re.match(r"[(\[\"']?[A-Za-z][)\]\"']?\.(?=\s)", text)
    match = _SENTENCE_END.search(text, label.end() if label and not re.match(r"\s*[A-Z]", text[label.end() :]) else 0)
    return text[: match.start()] if match else text


def is_negated(before: str) -> bool:
    """True if the text that stands before a mention denies it ("not B", "isn't the lamp", "not A or")."""
    return _NEGATION.search(before[-48:]) is not None

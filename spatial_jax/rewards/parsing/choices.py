"""Which option of a multiple-choice question a response picks; the grammar stands in docs/answers.md."""

from __future__ import annotations

import dataclasses
import itertools
import re
import string
from collections.abc import Sequence

from spatial_jax.rewards.parsing.cues import answer_scope, claims, first_sentence, is_negated
from spatial_jax.rewards.parsing.latex import plain
from spatial_jax.rewards.parsing.numbers import parse_quantity
from spatial_jax.rewards.parsing.text import clean, fold
from spatial_jax.rewards.parsing.units import convert

_PREFIX = re.compile(r"^\s*[(\[]?([A-Za-z])[)\].:]\s+")
_NAME = r"(?:the\s{1,3})?(?:option|choice|answer|letter|opci\u00f3n|\u9009\u9879|\u9078\u9805|\u9078\u629e\u80a2)"
_ALONE = re.compile(
    rf"[\s_\"'({{\[]{{0,8}}(?:{_NAME}\s{{0,3}}:?\s{{0,3}})?[(\[{{]{{0,2}}([A-Za-z])[)\]}}]{{0,2}}"
    "(?:\u9009\u9879|\u9879|\u3067\u3059|\uc785\ub2c8\ub2e4)?[\\s.,:;!_\"')}\\]\u3002]{0,8}",
    re.IGNORECASE,
)
# A letter at the head of a claim: what closes it is group 2.
_HEAD = re.compile(
    rf"[\s_\"'({{\[:]{{0,8}}(?:{_NAME}\s{{0,3}}:?\s{{0,3}})?[\"'(\[{{]{{0,3}}([A-Za-z])"
    "(?![A-Za-z0-9']|-[A-Za-z])([\"')\\]}.:,;!?\u3002]{0,4}(?:\u9009\u9879|\u9879)?(?=\\s|$|[^A-Za-z0-9]))",
    re.IGNORECASE,
)
_REASON = (
    r"(?:because|since|as|so|and|but|is|are|was|seems|looks|must|appears|for|due|given|which|where|while|not"
    r"|(?:rather|instead)\s(?:than|of))\b"
)
_STATEMENT = re.compile(rf"\s{{0,4}}(?:[,;:\u2013-]\s{{0,3}})?{_REASON}", re.IGNORECASE)
_JOIN = r"(?:[,;/&|+]|\b(?:or|and|oder|und|ou|et|o|y)\b|\u6216\u8005?|\u548c|\u3068|\u304b|\ub610\ub294)"
_ALTERNATIVE = re.compile(
    rf"\s{{0,4}}(?:{_JOIN}\s{{0,3}}){{1,3}}(?:(?:maybe|perhaps|also|possibly|even|option|choice)\s{{1,3}})?",
    re.IGNORECASE,
)
_OTHER_LETTER = re.compile(
    r"[\"'(\[]{0,2}([A-Z])(?![A-Za-z0-9']|-[A-Za-z])(?!\s{1,4}(?!or\b|and\b|oder\b|und\b|ou\b|et\b)[a-z])"
)
_LETTER = re.compile(r"(?<![A-Za-z0-9_'\-<\\/])([A-Z])(?![A-Za-z0-9_>]|'[a-z]|-[A-Za-z])")
# What follows a letter that is ruled out: "A is wrong", "B isn't".
_REJECTED = re.compile(
    r"[)\"'.:*]{0,3}\s{1,3}(?:is|was|are|seems|looks)(?:n't\b|\s{1,3}(?:(?:clearly|definitely|obviously|also)\s{1,3})?"
    r"(?:wrong|incorrect|false|impossible|unlikely|excluded|ruled\s|not\b))",
    re.IGNORECASE,
)
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
_VERB = re.compile(rf"\s+{_REASON}")
# Lines, mentions, and characters of an announcement that are looked at: they bound the time that a long text takes.
_LINES, _MENTIONS, _CLAIM = 64, 256, 400
# "A, which is on the wall, appears to be closer" as "A is closer", where options are such sentences.
_COPULA = re.compile(
    r",?\s(?:which|that)\s(?:is|are)\s[^,.]{0,120},\s(?:is\s)?"
    r"|\s(?:(?:appears|seems|looks)(?:\sto\sbe)?|is\s(?:likely|probably|clearly))\s"
)
# Yes and no in the languages that Qwen models answer in; only where they are the options.
_POLAR = {
    "yes": (
        "\u662f",
        "\u662f\u7684",
        "\u5bf9",
        "s\u00ed",
        "si",
        "ja",
        "oui",
        "\u306f\u3044",
        "\ub124",
        "\u0434\u0430",
        "true",
    ),
    "no": (
        "\u5426",
        "\u4e0d\u662f",
        "\u4e0d",
        "\u4e0d\u5bf9",
        "nein",
        "non",
        "\u3044\u3044\u3048",
        "\uc544\ub2c8\uc694",
        "\u043d\u0435\u0442",
        "false",
    ),
}


@dataclasses.dataclass(frozen=True)
class _Options:
    labels: list[str]
    texts: list[str]
    folded: dict[str, int]  # an option's folded text (and yes and no in other languages) -> its index
    named: bool  # whether a label occurs inside the options' own texts, where it is a name
    longest: int  # no whole answer has more characters

    def letter(self, text: str) -> int | None:
        return self.labels.index(text.upper()) if text.upper() in self.labels else None


_STOP = -1  # an answer is announced, but it is none of the options, or several


def strip_label(option: str) -> tuple[str | None, str]:
    """(label, text) of an option written "B. chair", "(B) chair" or "chair" (label None)."""
    match = _PREFIX.match(option)
    return (match.group(1).upper(), option[match.end() :]) if match else (None, option)


def option_labels(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """The letters and the bare texts of options; letters are as written when every option has its own, else A, B, C,
    ...
    """
    split = [strip_label(option) for option in options]
    labels = [label for label, _ in split if label is not None]
    if len(set(labels)) == len(options):
        return labels, [text for _, text in split]
    return list(string.ascii_uppercase[: len(options)]), list(options)


def truth_index(answer: str, options: Sequence[str]) -> int:
    """The option that a record's answer names, by letter or by text. ValueError when it names none or several."""
    labels, texts = option_labels(options)
    exact = [i for i, option in enumerate(options) if fold(option) == fold(answer) or fold(texts[i]) == fold(answer)]
    letter = _ALONE.fullmatch(answer.strip())
    if len(exact) == 1:
        return exact[0]
    if not exact and letter and letter.group(1).upper() in labels:
        return labels.index(letter.group(1).upper())
    label, text = strip_label(answer)
    if not exact and label in labels and fold(text) == fold(texts[labels.index(label)]):
        return labels.index(label)
    raise ValueError(
        f"answer {answer!r} is not one of the options {list(options)!r}; write the option's letter or its text"
    )


def parse_choice(text: str, options: Sequence[str]) -> int | None:
    """Index of the option a response picks, None when it picks none or several ("A or B", all options, the question
    echoed). The order of trust: the whole answer; what the last announcement says, to the end of its sentence; a last
    line that is an answer; a label that the answer begins with; the only letter or option text that is mentioned and
    not denied.
    """
    scope = answer_scope(clean(text))
    if not options or scope is None:
        return None
    known = _options(options)
    body = plain(_without_listing(scope.strip(), known))
    if not body:
        return None
    pick = _whole(body, known)
    for claim in claims(body) if pick is None else ():
        pick = _read_claim(claim, known)
        if pick is not None:
            break
    if pick is None:
        pick = _read_lines(body, known)
    if pick is None:
        pick = _read_head(body, known, announced=False)
    if pick is None:
        found = _mentions(body, known)
        pick = _by_value(body, known) if not found else found.pop() if len(found) == 1 else None
    return None if pick in (None, _STOP) else pick


def _by_value(text: str, known: _Options) -> int | None:
    """Where every option is a quantity, the only one with the value of the text's: "4.5m" and "4.50" are "4.5 m"."""
    values = [parse_quantity(option) for option in known.texts]
    said = parse_quantity(text) if None not in values else None
    if said is None or said.is_range:
        return None
    same = [
        index
        for index, value in enumerate(values)
        if value is not None
        and not value.is_range
        and convert(said.value, said.unit or value.unit, value.unit) == value.value
    ]
    return same[0] if len(same) == 1 else None


def _options(options: Sequence[str]) -> _Options:
    labels, texts = option_labels(options)
    folded: dict[str, int] = {}
    for index, option in enumerate(texts):
        for form in _forms(option):
            folded.setdefault(form, index)
        for word in _POLAR.get(fold(option), ()):
            folded.setdefault(word, index)
    folded.pop("", None)
    named = any(match.group(1) in labels for option in texts for match in _LETTER.finditer(option))
    return _Options(labels, texts, folded, named, 2 * max(map(len, options)) + 100)


def _forms(option: str) -> list[str]:
    """An option's folded text, and with blanks for hyphens ("front-left")."""
    form = fold(plain(option))
    return [form, _HYPHEN.sub(" ", form)]


def _whole(text: str, known: _Options) -> int | None:
    """The pick when the whole text is a letter, an option, or a letter with its own option's text, in either order."""
    alone = _ALONE.fullmatch(text)
    if alone and known.letter(alone.group(1)) is not None:
        return known.letter(alone.group(1))
    if len(text) > known.longest:
        return None
    same = known.folded.get(fold(text))
    if same is not None:
        return same
    head = _HEAD.match(text)
    index = known.letter(head.group(1)) if head else None
    if head and index is not None and fold(text[head.end() :].lstrip(" -\u2013=:")) == fold(plain(known.texts[index])):
        return index
    tail = re.search(r"\s[(\[]([A-Z])[)\]][\s.]{0,3}$", text[-16:])
    index = known.letter(tail.group(1)) if tail else None
    if tail and index is not None and fold(text[: len(text) - len(tail.group())]) == fold(plain(known.texts[index])):
        return index
    return None


def _read_claim(claim: str, known: _Options) -> int | None:
    sentence = first_sentence(claim[:_CLAIM])
    pick = _whole(sentence, known)
    if pick is None:
        pick = _read_head(sentence, known, announced=True)
    if pick is None:
        found = _mentions(sentence, known)
        pick = found.pop() if len(found) == 1 else _STOP if found else None
    return pick


def _read_head(text: str, known: _Options, *, announced: bool) -> int | None:
    """The letter or the option text that a claim begins with; _STOP where an alternative follows it. Unannounced, a
    letter must be closed by a mark or followed by a reason, and a short option text by a mark.
    """
    head = _HEAD.match(text)
    if head and not _REJECTED.match(text, head.end(1)):
        index, rest = known.letter(head.group(1)), text[head.end() :]
        closed = bool(head.group(2)) or not rest.strip() or text[: head.start(1)].strip(" :") != ""
        # where labels are names in the options, "A is ..." speaks of A and does not pick it
        reason = _STATEMENT.match(rest) is not None and not (known.named and not announced)
        reason = reason or re.match(r"\s[-\u2013]\s", rest) is not None
        capital = head.group(1).isupper()
        joined = _ALTERNATIVE.match(rest) is not None
        article = head.group(1) in "AaI" and not head.group(2) and re.match(r"\s+[a-z]", rest) is not None
        label = (closed or reason or joined or (announced and capital)) and not (article and not (reason or joined))
        if label and (capital or closed) and index is None:
            return _STOP if announced and capital else None
        if label and index is not None:
            other = known.folded.get(fold(first_sentence(rest.lstrip(" .:)-\u2013"))), index)
            return _STOP if other != index or _has_alternative(text[head.end(1) :], index, known) else index
    stripped = re.sub(
        r"^(?:(?:it|that|this)\s+(?:is|'s)\s+)?(?:the|an?|that)\s+", "", text.strip(), flags=re.IGNORECASE
    )
    lowered = stripped.casefold()
    for form in sorted(known.folded, key=len, reverse=True):
        if lowered.startswith(form):
            rest = stripped[len(form) :]
            ended = not rest or not (rest[0].isalnum() and rest[0].isascii())
            firm = announced or len(form.split()) > 2 or re.match(rf"\s*(?:[.,;:!?\n\u3002\u2013-]|{_REASON})", rest)
            if ended and firm:
                pick = known.folded[form]
                other = known.folded.get(fold(first_sentence(rest.lstrip(" .,;\n"))), pick)
                return _STOP if other != pick or _has_alternative(rest, pick, known) else pick
    return None


def _has_alternative(rest: str, picked: int, known: _Options) -> bool:
    """Whether another option is offered right after a pick ("A or B", "A, B", "left or right")."""
    own = fold(plain(known.texts[picked]))
    rest = re.sub(r"^[\"')\]}.:\u3002]{1,6}", "", rest)
    begin = rest.lstrip(" .:)-\u2013")
    if own and begin.casefold().startswith(own):
        rest = begin[len(own) :]
    join = _ALTERNATIVE.match(rest)
    if not join:
        return False
    after = rest[join.end() :]
    letter = _OTHER_LETTER.match(after)
    if letter and known.letter(letter.group(1)) not in (None, picked):
        return not (letter.group(1) in "AI" and re.match(r"\s+[a-z]", after[letter.end() :]) is not None)
    lowered = fold(after[:120])
    return any(
        lowered.startswith(form) and not lowered[len(form) : len(form) + 1].isalnum()
        for form, index in known.folded.items()
        if index != picked
    )


def _read_lines(text: str, known: _Options) -> int | None:
    """The option that lines of the text are, on their own; _STOP for lines that are different options."""
    lines = [line.strip() for line in text.splitlines()[-_LINES:] if line.strip()]
    if len(lines) < 2:
        return None
    whole = {pick for line in lines if len(line) < 200 for pick in [_whole(line, known)] if pick is not None}
    if len(whole) > 1:
        return _STOP
    return whole.pop() if whole else None


def _without_listing(text: str, known: _Options) -> str:
    """The text without runs of two or more labelled options ("A. chair B. table", a line each): the question's options
    said again are no answer.
    """
    items = [
        rf"[(\[]?{label}[)\].:]{{1,2}}\s{{0,4}}{re.escape(option)}"
        for label, option in zip(known.labels, known.texts)
        if option
    ]
    if len(items) < 2:
        return text
    any_item = "(?:" + "|".join(items) + ")"
    run = re.compile(
        rf"(?<![A-Za-z0-9]){any_item}(?:[\s,;./|]{{0,8}}(?:(?:and|or)\s)?{any_item})+[\s.]{{0,4}}", re.IGNORECASE
    )

    def cut(match: re.Match[str]) -> str:
        labels = {m.group(1).upper() for m in re.finditer(r"(?<![A-Za-z0-9])([A-Za-z])[)\].:]", match.group())}
        return "\n" if len(labels) > 1 else match.group()

    return run.sub(cut, text)


def _mentions(text: str, known: _Options) -> set[int]:
    """The options mentioned and not denied: by letters that stand alone (unless letters are names in the options), and
    by their texts as whole words, a longer option hiding a shorter one inside it. Where letters are named, texts count
    only against them.
    """
    letters: set[int] = set()
    for m in itertools.islice(_LETTER.finditer(text), _MENTIONS):
        index = known.letter(m.group(1))
        if index is None or index in letters or _is_article(text, m) or _REJECTED.match(text, m.end()):
            continue
        if not is_negated(text[max(0, m.start() - 48) : m.start()]):
            letters.add(index)
    folded = text.casefold()
    spoken = _texts_mentioned(_COPULA.sub(" is ", folded) if known.named else folded, known)
    if known.named and len(spoken) == 1:
        return spoken
    return letters | spoken if letters else spoken


def _is_article(text: str, match: re.Match[str]) -> bool:
    """A capital A or I that begins a phrase ("A chair") is a word, not a letter."""
    after = text[match.end() : match.end() + 12]
    phrase = match.group(1) in ("A", "I") and re.match(r"\s+[a-z]", after) is not None
    return phrase and _VERB.match(after) is None and _ALTERNATIVE.match(after) is None


def _texts_mentioned(folded: str, known: _Options) -> set[int]:
    # yes and no in other languages are also other words; they count as whole answers
    own = {form for option in known.texts for form in _forms(option)} - {""}
    if not own:
        return set()
    forms = "|".join(re.escape(form) for form in sorted(own, key=len, reverse=True))
    found = set()
    # signs of scripts without blanks between words need no edge
    pattern = re.compile(rf"(?<![^\W\u3040-\u9fff])(?:{forms})(?![^\W\u3040-\u9fff])")
    for match in itertools.islice(pattern.finditer(folded), _MENTIONS):
        if known.folded[match.group()] in found:
            continue
        # "no train" is not the answer No
        if match.group() == "no" and not re.match(r"\s*(?:[.,;:!?)\n]|$)", folded[match.end() : match.end() + 4]):
            continue
        if not is_negated(folded[max(0, match.start() - 48) : match.start()]):
            found.add(known.folded[match.group()])
    return found

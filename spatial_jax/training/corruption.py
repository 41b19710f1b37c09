"""Wrong answers in the form of the right one: candidates for what DPO rejects, the nearest mistakes first.

Every generator gives texts that differ from the answer and are written as it is: a letter for a letter, an option's
text for a text, the same items in another order, a box of the same writing, numbers with the same unit and decimals.
Whether a candidate is wrong is for the record's own reward to say (`training.pairs`).
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence

from spatial_jax.data import QuestionRecord
from spatial_jax.rewards.parsing.boxes import Box, parse_box
from spatial_jax.rewards.parsing.choices import option_labels, strip_label, truth_index
from spatial_jax.rewards.parsing.text import fold

Size = tuple[int, int]  # width, height of the first picture, in the pixels of boxes

_NUMBER = re.compile(r"(?:(?<![0-9A-Za-z)\].])-)?(?<![0-9.])(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]*\.?[0-9]+)")
_ONLY_LETTER = re.compile(r"(\W*)([A-Za-z])(\W*)")
_NUMERIC_ORDER = re.compile(r"\s*[0-9]{1,4}(?:\s*[-,>]\s*[0-9]{1,4})+\s*")
_NAME_SEPARATOR = re.compile(r"(\s*(?:,|;|->|=>|→|>|\n)\s*|\s+then\s+)")
_NUMERIC_SEPARATOR = re.compile(r"(\s*[-,>]\s*)")
_COUNTED = 20  # whole numbers below are counts: wrong by steps, others by a factor
_BORROWED = 8  # answers of other records that are tried
_SPELLED = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety",
)
_OPPOSITES = {
    word: other
    for pair in re.findall(
        r"(\w+) (\w+)",
        "left right, up down, higher lower, upper lower, top bottom, above below, over under, front behind, back front"
        ", inside outside, north south, east west, northeast southwest, northwest southeast, yes no, true false"
        ", nearer further, closer farther, nearest furthest, closest farthest, near far, close distant, first last"
        ", before after, larger smaller, largest smallest, bigger smaller, biggest smallest, large small, big small"
        ", taller shorter, tallest shortest, tall short, highest lowest, high low, longer shorter"
        ", longest shortest, long short, wider narrower, widest narrowest, wide narrow, thicker thinner"
        ", deeper shallower, more fewer, more less, most least, same different, clockwise counterclockwise"
        ", horizontal vertical, horizontally vertically, forward backward, forwards backwards, open closed"
        ", visible hidden",
    )
    for word, other in (pair, pair[::-1])
}
_WORD = re.compile(r"[A-Za-z]+")


def candidates(
    record: QuestionRecord,
    answer: str,
    rng: random.Random,
    others: Sequence[str] = (),
    size: Size | None = None,
    vocabulary: Sequence[str] = (),
) -> Iterator[str]:
    """Wrong answers to try, each once. `answer`: what the chosen response states (a letter, for a lettered question);
    `vocabulary`: words that the record's reward knows; `others`: answers of other records to the same kind of question.
    """
    orders, picks, boxes = _orders(record, answer, rng), _options(record, answer, rng), _boxes(answer, rng, size)
    numbers, words = _numbers(answer, rng), _words(answer, rng, vocabulary)
    # A number in a name ("chair 2") is no quantity: names are tried first where the question does not ask for one.
    named = record.question_type in ("word", "free", "direction", "mcq") and not record.options
    borrowed = rng.sample(list(others), min(len(others), _BORROWED)) if named else []
    last = (words, borrowed, numbers) if record.question_type in ("word", "free") else (numbers, words, borrowed)
    seen = {fold(answer)}
    for text in itertools.chain(orders, picks, boxes, *last):
        if fold(text) not in seen:
            seen.add(fold(text))
            yield text


def _orders(record: QuestionRecord, answer: str, rng: random.Random) -> Iterator[str]:
    """The same items in other orders, with the separators where they were."""
    numeric = _NUMERIC_ORDER.fullmatch(answer) is not None
    if record.question_type != "order" and not (numeric and record.question_type != "number" and "-" in answer):
        return
    parts = (_NUMERIC_SEPARATOR if numeric else _NAME_SEPARATOR).split(answer)
    items, between = parts[::2], [*parts[1::2], ""]
    if len(items) < 2:
        return
    shuffled = [rng.sample(items, len(items)) for _ in range(8)]
    for order in (*shuffled, items[::-1], items[1:] + items[:1]):
        if order != items:
            yield "".join(text for pair in zip(order, between) for text in pair)


def _options(record: QuestionRecord, answer: str, rng: random.Random) -> Iterator[str]:
    """Another option, stated as the answer states its own: by letter, by text, or by both."""
    lone = _ONLY_LETTER.fullmatch(answer)
    # Options that stand in the question alone have no list: their letters are all that can be exchanged.
    if not record.options:
        if record.question_type == "mcq" and lone:
            letters = sorted(set(re.findall(r"^\s*\(?([A-Z])[.):]", record.question, re.MULTILINE)) or set("ABCD"))
            yield from (lone[1] + letter + lone[3] for letter in rng.sample(letters, len(letters)))
        return
    try:
        truth = truth_index(answer, record.options)
    except ValueError:
        return
    labels, texts = option_labels(record.options)
    others = [i for i in range(len(texts)) if i != truth]
    rng.shuffle(others)
    label, text = strip_label(answer)
    for i in others:
        # As the answer states its own, or a pair would teach the form and not the choice.
        if fold(answer) == fold(texts[truth]):
            yield texts[i]
        elif lone:
            yield lone[1] + (labels[i].lower() if lone[2].islower() else labels[i]) + lone[3]
        elif label is not None:
            yield answer[: -len(text)].replace(labels[truth], labels[i], 1) + strip_label(texts[i])[1]


def _boxes(answer: str, rng: random.Random, size: Size | None) -> Iterator[str]:
    """The box elsewhere in the picture, of about its size; then a part of it."""
    box = parse_box(answer)
    if box is None or len(_NUMBER.findall(answer)) != 4:
        return
    width, height = max(box[2] - box[0], 1.0), max(box[3] - box[1], 1.0)
    moves = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]
    for dx, dy in rng.sample(moves, len(moves)):
        step = rng.uniform(0.6, 1.4)
        x = _inside(box[0] + dx * step * width, width, size[0] if size else None)
        y = _inside(box[1] + dy * step * height, height, size[1] if size else None)
        yield _write_box(answer, (x, y, x + width, y + height))
    for share in (0.5, 0.25):
        part_x, part_y = max(share * width, 1.0), max(share * height, 1.0)
        yield _write_box(answer, (box[0], box[1], box[0] + part_x, box[1] + part_y))
        yield _write_box(answer, (box[2] - part_x, box[3] - part_y, box[2], box[3]))


def _inside(low: float, length: float, limit: float | None) -> float:
    return max(low if limit is None else min(low, limit - length), 0.0)


def _write_box(answer: str, box: Box) -> str:
    """The answer with its four numbers replaced, each with the decimals it had."""
    values = iter(box)
    return _NUMBER.sub(lambda match: _like(match.group(), next(values)), answer)


def _numbers(answer: str, rng: random.Random) -> Iterator[str]:
    """Every number of the answer changed alike, then only its first: counts by steps, other quantities by a factor."""
    found = _NUMBER.findall(answer)
    if not found:
        yield from _number_words(answer, rng)
        return
    values = [float(text.replace(",", "")) for text in found]
    for change in _changes(found, values, "o'clock" in answer.lower(), rng):
        new = iter([_like(text, change(value)) for text, value in zip(found, values)])
        yield _NUMBER.sub(lambda match, new=new: next(new), answer)  # type: ignore[misc]
        yield _NUMBER.sub(_like(found[0], change(values[0])), answer, count=1)


def _changes(
    found: Sequence[str], values: Sequence[float], clock: bool, rng: random.Random
) -> Iterator[Callable[[float], float]]:
    signed = any(value < 0 for value in values)
    if clock or all("." not in text and abs(value) < _COUNTED for text, value in zip(found, values)):
        for step in range(1, 7 if clock else _COUNTED):
            for by in rng.sample((-step, step), 2):
                if clock:
                    yield lambda v, by=by: (v - 1 + by) % 12 + 1
                elif signed or all(value + by >= 0 for value in values):
                    yield lambda v, by=by: v + by
    low, high = rng.uniform(0.5, 0.7), rng.uniform(1.4, 2.0)
    for factor in (*rng.sample((low, high), 2), 0.3, 3.0, 0.1, 10.0, 100.0):
        # A truth of 0 has no multiple: it is missed by that much instead.
        yield lambda v, factor=factor: v * factor if v else factor


def _like(text: str, value: float) -> str:
    """`value` with the decimals and the thousands marks that `text` has."""
    decimals = len(text.split(".")[1]) if "." in text else 0
    return f"{value:,.{decimals}f}" if "," in text else f"{value:.{decimals}f}"


def _number_words(answer: str, rng: random.Random) -> Iterator[str]:
    for match in _WORD.finditer(answer):
        if match.group().lower() in _SPELLED:
            at = _SPELLED.index(match.group().lower())
            near = sorted((i for i in range(len(_SPELLED)) if i != at), key=lambda i: (abs(i - at), rng.random()))
            yield from (_replace(answer, match, _SPELLED[i]) for i in near[:8])


def _words(answer: str, rng: random.Random, vocabulary: Sequence[str]) -> Iterator[str]:
    """Words for their opposites ("upper left": "lower left"), one at a time; then the words that the reward knows."""
    turned = [m for m in _WORD.finditer(answer) if m.group().lower() in _OPPOSITES]
    for match in rng.sample(turned, len(turned)):
        yield _replace(answer, match, _OPPOSITES[match.group().lower()])
    yield from rng.sample(list(vocabulary), len(vocabulary))


def _replace(text: str, match: re.Match[str], word: str) -> str:
    """`text` with the match replaced by `word`, in the match's case."""
    was = match.group()
    cased = word.upper() if was.isupper() and len(was) > 1 else _match_case(was, word)
    return text[: match.start()] + cased + text[match.end() :]


def retold(thought: str, record: QuestionRecord, right: str, wrong: str) -> str:
    """The thought with the right answer, where it states it, replaced by the wrong one; by its option's text, too,
    where the answer is a letter. A thought that does not name the answer stays as it is.
    """
    pairs: list[tuple[re.Pattern[str], str]] = []
    picked, replacing = _option_number(right, record.options), _option_number(wrong, record.options)
    if picked is not None and replacing is not None:
        labels, texts = option_labels(record.options)
        pairs.append((_phrase(texts[picked]), texts[replacing]))
        if fold(right) != fold(texts[picked]):
            # "A" that begins a phrase ("A chair stands") is an article.
            letter = re.compile(rf"(?<![\w'-]){labels[picked]}(?![\w'-]|\s+[a-z])")
            pairs.append((letter, labels[replacing]))
    for pattern, word in pairs or [(_phrase(right), wrong)]:
        thought = pattern.sub(lambda match, word=word: _match_case(match.group(), word), thought)  # type: ignore[misc]
    return thought


def _option_number(answer: str, options: Sequence[str]) -> int | None:
    try:
        return truth_index(answer, options) if options else None
    except ValueError:
        return None


def _phrase(text: str) -> re.Pattern[str]:
    """`text` as whole words in any case; a number does not match within a longer one."""
    return re.compile(rf"(?<![\w.]){re.escape(text)}(?!\w|\.[0-9])", re.IGNORECASE)


def _match_case(was: str, word: str) -> str:
    """`word` with a capital where `was`, in its place, begins a sentence."""
    return word[:1].upper() + word[1:] if was[:1].isupper() else word

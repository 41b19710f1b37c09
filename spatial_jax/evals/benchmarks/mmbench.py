"""MMBench (Liu et al., arXiv 2307.06281): choices asked with their options in every rotation; a question is right where
every rotation is.

Rows come rotated as published (index + k * 1,000,000); overall = mean over questions, "vanilla" = mean over the rows
that are not rotated. Test answers are not public: the dev split is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Derived,
    Item,
    Outcome,
    Scored,
    correct,
    is_whole,
    letter_of,
    letter_options,
    missing,
    option_texts,
    vlmevalkit_prompt,
)
from spatial_jax.evals.general_files import general_rows

_TURN = 1_000_000
_DECORATIONS = ("{}.", "{},", "{}:", "{})", "{}).", "({})", "({}).", ":{}", ":{},", ":{}.", ":{})", ":{}).")


def load(root: Path) -> list[dict[str, Any]]:
    """Rows of the dev split: parquet (en) or VLMEvalKit's TSV."""
    patterns = ("en/dev*", "*en*dev*", "*DEV_EN*", "*dev*", "*DEV*", "*")
    rows = [row for row in general_rows(root, patterns) if not missing(row.get("answer"))]
    for row in rows:
        row["scene"] = str(group(row))
    return rows


def group(item: Item) -> int:
    """The question that a row is a rotation of."""
    return int(item.get("index", item["id"])) % _TURN


def prompt(item: Item, scoring: str) -> str:
    if scoring != "lmms_eval":
        return vlmevalkit_prompt(item)
    hint = "" if missing(item.get("hint")) else f"{item['hint']} "
    return (
        f"{hint}{item['question']} There are several options:\n{letter_options(option_texts(item))}\n\n"
        "Answer with the option's letter from the given choices directly."
    )


def lmms_letter(response: str, options: dict[str, Any]) -> str:
    """lmms-eval: one bare letter among the tokens (unless "A" is there and they are more than three), one decorated
    letter, one option's text, else the ranked letter.
    """
    tokens = response.split()
    bare = [c for c in "ABCDE" if c in tokens]
    if len(bare) == 1 and not ("A" in tokens and len(tokens) > 3):
        return bare[0]
    for form in _DECORATIONS:
        found = [c for c in "ABCDE" if form.format(c) in tokens]
        if len(found) == 1:
            return found[0]
    texts = {c: str(options.get(c, "nan")).lower() for c in "ABCD"}
    named = [c for c, text in texts.items() if text in response.lower()]
    return named[0] if len(named) == 1 else matching.ranked_letter(response, "ABCD")


def score(response: str, item: Item, scoring: str) -> Scored:
    gold, options = letter_of(item["answer"]), option_texts(item)
    if scoring == "lmms_eval":
        letter = lmms_letter(response, options)
    else:
        letter = matching.can_infer(response, options or dict.fromkeys("ABCD", "\0"))
    return correct(letter == gold, None if letter == "Z" else letter)


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """Questions right in every rotation: overall, by l2-category and category; "vanilla" beside them."""
    groups: dict[int, list[float]] = {}
    mains: dict[int, Item] = {}
    vanilla = []
    for item, (value, _) in zip(items, outcomes):
        groups.setdefault(group(item), []).append(value)
        if int(item.get("index", item["id"])) < _TURN:
            mains[group(item)] = item
            vanilla += [(value, str(group(item)))] if is_whole([value]) else []
    out: dict[str, Derived] = {"vanilla": vanilla}
    for name, main in mains.items():
        if not is_whole(groups[name]):
            continue
        pair = (float(min(groups[name]) >= 1), str(name))
        named = (main.get("l2-category") or main.get("L2-category"), main.get("category"))
        for key in dict.fromkeys(("overall", *(str(n) for n in named if n))):
            members = out.setdefault(key, [])
            assert isinstance(members, list)
            members.append(pair)
    return out


BENCHMARK = Benchmark(
    name="mmbench",
    title="MMBench (dev, English)",
    hub="lmms-lab/MMBench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    oracle=lambda item, scoring: letter_of(item["answer"]),
    derived=derive,
    grouped=True,
    max_new_tokens=64,
    notes="overall counts a question that is right in every rotation; families count rows",
)

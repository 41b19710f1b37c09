r"""Response forms: what a policy is asked to write, what it is taught to write, and how its answer is read. The one
table; settings, prompts, rewards, evaluation and chat take names and texts from here.

A form is one record of FORMS. The predicates are strict, because each looser one was gamed in a published run: exactly
one block of each kind, in order, not empty, no further tags, nothing outside (vsGRPO, arXiv 2504.00883, saw empty
reasoning blocks and then padding with extra tags).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from spatial_jax.blocks import (
    assistant_turns,
    bare_text,
    block,
    has_content,
    is_blocks,
    is_think_boxed,
    last_boxed,
    strip_end_marks,
)
from spatial_jax.drawing.grammar import json_blocks, valid_block
from spatial_jax.drawing.texts import system_text
from spatial_jax.drawing.tools import PUBLISHED

_ACTION = re.compile(r"\s*Action:")


@dataclasses.dataclass(frozen=True)
class Form:
    """A response form.

    `instruction` follows the question, with {form} for the kind of answer ("a number in metres"); `target` is what a
    perfect policy writes, with {answer} and, where the form has one, {thought}. `matches(text)` says whether a response
    (stripped, without end marks) is exactly of the form, `extract(text)` gives its answer or None. `tagged`: the answer
    stands inside something, so that a reward can pay for the form. `plain`: the question says by itself how to answer,
    so neither options nor letters are put in its place. `tools` (drawing/tools): a response is a whole conversation
    whose turns call them on numbered pictures.
    """

    name: str
    instruction: str
    target: str
    matches: Callable[[str], bool]
    extract: Callable[[str], str | None]
    tagged: bool = True
    plain: bool = False
    tools: tuple[str, ...] = ()

    @property
    def several_turns(self) -> bool:
        """Whether a response is a conversation in which the policy draws between its replies."""
        return bool(self.tools)

    @property
    def system(self) -> str | None:
        """The form's own system text: the protocol of its tools."""
        return system_text(self.tools) if self.tools else None

    @property
    def thinks(self) -> bool:
        """Whether a thought comes before the answer, which needs room."""
        return "{thought}" in self.target

    @property
    def format(self) -> str:
        """The name that a reward's `format` has for it: "none" where there is nothing to pay for."""
        return self.name if self.tagged else NO_FORMAT

    def write(self, answer: str, thought: str = "") -> str:
        """A response of this form; forms without a thought leave it out."""
        return self.target.format(answer=answer, thought=thought)


def _in_answer_block(text: str) -> str | None:
    return block(text, "answer")


def _in_last_turn(text: str) -> str | None:
    return block(assistant_turns(text)[-1], "answer")


def _is_drawing(text: str, tools: Sequence[str]) -> bool:
    """Every turn is a think block with content followed by "Action:"; one answer block, in the last turn; all tool
    blocks are valid.
    """
    turns = assistant_turns(text)
    for number, turn in enumerate(turns):
        last = number == len(turns) - 1
        thought = block(turn, "think")
        if thought is None or not has_content(thought) or not turn.startswith("<think>"):
            return False
        rest = turn[turn.index("</think>") + len("</think>") :]
        if not _ACTION.match(rest) or (block(turn, "answer") is None) == last:
            return False
        if not last and ("<answer>" in turn or "</answer>" in turn):
            return False
        if not all(valid_block(text, tools) for text in json_blocks(turn)):
            return False
    return bool(turns)


def _drawing(name: str, tools: tuple[str, ...]) -> Form:
    """ViLaSR's conversation with these tools."""
    return Form(
        name,
        "Begin to think; in your last reply write {form} inside <answer></answer>.",
        "<think>{thought}</think> Action: Answer\n<answer>{answer}</answer>",
        lambda text: _is_drawing(text, tools),
        _in_last_turn,
        tools=tools,
    )


NO_FORMAT = "none"
USUAL = "vanilla"  # of a policy that does not say how it was trained: published ones answer plain questions
FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        # A leading space: words of the question and of the answer are then the same tokens, which a small model copies
        # far sooner.
        Form("bare", "", " {answer}", has_content, str, tagged=False, plain=True),
        Form("vanilla", "Answer with {form}.", "{answer}", has_content, str, tagged=False),
        Form(
            "answer_tag",
            "Write {form} inside <answer></answer>.",
            "<answer>{answer}</answer>",
            lambda text: is_blocks(text, ("answer",)),
            _in_answer_block,
        ),
        Form(
            "think_answer",
            "First think it through inside <think></think>, then write {form} inside <answer></answer>.",
            "<think>{thought}</think>\n<answer>{answer}</answer>",
            lambda text: is_blocks(text, ("think", "answer")),
            _in_answer_block,
        ),
        Form(
            "observe_answer",
            "First describe what you see inside <observe></observe>, then write {form} inside <answer></answer>.",
            "<observe>{thought}</observe>\n<answer>{answer}</answer>",
            lambda text: is_blocks(text, ("observe", "answer")),
            _in_answer_block,
        ),
        Form(
            "think_boxed",
            "First think it through inside <think></think>, then put {form} in \\boxed{{}}.",
            "<think>{thought}</think>\n\\boxed{{{answer}}}",
            is_think_boxed,
            last_boxed,
        ),
        _drawing("drawing", PUBLISHED),
        _drawing("drawing_zoom", (*PUBLISHED, "crop")),
    )
}


class _OneOfForms:
    """The rule of a setting that names a form (see ranges.py)."""

    def problem(self, value: Any) -> str:
        """What a name must be; "" where it is."""
        return "" if value in FORMS else f"it must be one of {', '.join(map(repr, FORMS))}"


FormName = Annotated[str, _OneOfForms()]


def format_names() -> tuple[str, ...]:
    """What a reward's `format` can be: "none", and the forms that can be paid for."""
    return (NO_FORMAT, *(form.name for form in FORMS.values() if form.tagged))


def get_form(name: str) -> Form:
    """A form by its name. ValueError, naming the nearest, for an unknown one."""
    if name not in FORMS:
        near = difflib.get_close_matches(str(name), FORMS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"response form {name!r} is unknown; use one of {', '.join(FORMS)}{hint}")
    return FORMS[name]


def get_format(name: str) -> Form:
    """The form behind a reward's `format`: "none" is the bare answer. ValueError for an unknown one."""
    if name == NO_FORMAT:
        return FORMS["vanilla"]
    if name not in FORMS or not FORMS[name].tagged:
        raise ValueError(f"format {name!r} is unknown; one of {', '.join(format_names())}")
    return FORMS[name]


def matches_format(text: str, name: str) -> bool:
    """Whether a response is exactly the blocks that a format asks for. "none" needs only content."""
    return get_format(name).matches(strip_end_marks(text).strip())


def extract_answer(text: str, name: str) -> str | None:
    r"""The part of a response that is its answer under a format: the whole text for "none", the one answer block for
    the tag formats (several blocks are no answer; for "drawing" that of the last turn), the last \boxed{...} for
    "think_boxed". None when there is none or it is empty.
    """
    answer = get_format(name).extract(strip_end_marks(text).strip())
    return answer if answer is not None and has_content(bare_text(answer)) else None

r"""The example rewards of EasyR1, as their code does it: `math` (think, then \boxed{}), `r1v` (think and answer blocks)
and `dapo` ("Answer: ..." at the end, with the penalty on long responses).

Their grader calls an empty answer right where the truth is "None"; here no answer is never right.
"""

from __future__ import annotations

import re

from spatial_jax.blocks import has_content, strip_end_marks
from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec
from spatial_jax.rewards.grading import equal_answers
from spatial_jax.rewards.kinds.overlong import check_limits, overlong_penalty, response_tokens
from spatial_jax.rewards.released import last_box, thinks_then_answers, thinks_then_boxes, tighten

_TAIL = 300  # characters at the end of a response in which `dapo` looks for its answer
_ANSWER = re.compile(r"Answer\s*:\s*([^\n]+)", re.IGNORECASE)


def score_math(response: str, record: Record, spec: Spec, context: Context) -> Score:
    r"""0.9 * equality of the last \boxed{} with the truth + 0.1 * format."""
    text = tighten(strip_end_marks(response))
    answer, form = last_box(text), float(thinks_then_boxes(text))
    right = float(answer is not None and has_content(answer) and equal_answers(answer, str(record["answer"])))
    return Score(0.9 * right + 0.1 * form, right, form)


def score_r1v(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """0.5 * equality of the answer block (on one line), else of the whole response, with the truth + 0.5 * format."""
    text = strip_end_marks(response)
    answer, form = _one_line_block(text), float(thinks_then_answers(text))
    right = float(has_content(answer) and equal_answers(answer, str(record["answer"]).strip()))
    return Score(0.5 * right + 0.5 * form, right, form)


def _one_line_block(text: str) -> str:
    for line in text.split("\n"):
        start = line.find("<answer>")
        end = line.find("</answer>", start) if start >= 0 else -1
        if end >= 0:
            return line[start + len("<answer>") : end].strip()
    return text.strip()


def score_dapo(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """1 for what follows the last "Answer:" in the last 300 characters being the truth after both are normalized, else
    -1; plus `factor` times the overlong penalty.
    """
    said = _ANSWER.findall(strip_end_marks(response)[-_TAIL:])
    right = bool(said) and has_content(said[-1]) and normalize(said[-1]) == normalize(str(record["answer"]))
    penalty = overlong_penalty(response_tokens(record), int(spec["max_length"]), int(spec["buffer"]))
    return Score((1.0 if right else -1.0) + float(spec["factor"]) * penalty, float(right))


_FIRST = (
    *(("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), ("\\ ", ""), (" ", ""), ("mbox", "text")),
    *((",\\text{and}", ","), ("\\text{and}", ","), ("\\text{m}", "\\text{}")),
)
_DROPPED = (
    *("square", "ways", "integers", "dollars", "mph", "inches", "hours", "km", "units", "\\ldots", "sue", "points"),
    *("feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students"),
    *("childrentickets", "multiples", "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3"),
    *("\\text{\n}", "\\text{}", "\\mathrm{th}", "^\\circ", "^{\\circ}", "\\;", ",\\!", "{,}", '"', "\\dots"),
)


def normalize(answer: str) -> str:
    """What `dapo` compares: after the last "=", without blanks, articles, units and LaTeX around the answer."""
    answer = answer.split("=")[-1]
    for old, new in _FIRST:
        answer = answer.replace(old, new)
    for word in _DROPPED:
        answer = answer.replace(word, "")
    answer = _only_math(answer)
    for opening in ("\\text{", "\\textbf{", "\\overline{"):
        answer = _unwrap(answer, opening)
    start, end = answer.find("\\boxed{"), answer.rfind("}")
    if start >= 0 and start + len("\\boxed{") <= end:
        answer = answer[:start] + answer[start + len("\\boxed{") : end] + answer[end + 1 :]
    answer = re.sub(r"frac([^{])(.)", r"frac{\1}{\2}", answer)
    answer = re.sub(r"sqrt([^{])", r"sqrt{\1}", answer).replace("$", "")
    digits = answer.replace(",", "")
    return digits if digits.isdigit() else answer.strip()


def _only_math(answer: str) -> str:
    """The text between the first two dollar signs, where there are two."""
    parts = answer.split("$", 2)
    return f"${parts[1]}$" if len(parts) == 3 else answer


def _unwrap(answer: str, opening: str) -> str:
    """Without `opening` and the brace that next follows it, everywhere."""
    made, position = [], 0
    while (start := answer.find(opening, position)) >= 0:
        end = answer.find("}", start)
        if end < 0:
            break
        made += [answer[position:start], answer[start + len(opening) : end]]
        position = end + 1
    return "".join([*made, answer[position:]])


def _check(record: Record, spec: Spec) -> None:
    if not has_content(str(record["answer"])):
        raise ValueError("the answer is empty")


def _check_dapo(record: Record, spec: Spec) -> None:
    _check(record, spec)
    check_limits({key: spec[key] for key in ("max_length", "buffer")})
    if float(spec["factor"]) < 0:
        raise ValueError(f"reward dapo: factor = {spec['factor']!r} must not be negative")


MATH = Kind("math", {}, score_math, _check, own_format=lambda spec: "think_boxed")
R1V = Kind("r1v", {}, score_r1v, _check, own_format=lambda spec: "think_answer")
DAPO = Kind(
    "dapo", {"max_length": 2048, "buffer": 512, "factor": 1.0}, score_dapo, _check_dapo, own_format=lambda spec: "none"
)

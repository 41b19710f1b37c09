"""No response of any length costs a scorer more than about a millisecond a kilobyte."""

import contextlib
import time

import pytest

from spatial_jax.evals import get_benchmark, score_response
from tests.evals.test_evals_more import CASES as NEWER
from tests.evals.test_evals_scorers import CASES

PIECES = (
    *(
        " ",
        "\n",
        "9",
        "1,",
        "A ",
        "(A)",
        "A, ",
        "<think>",
        "</think>",
        "<answer>",
        "\\boxed{",
        "{",
        "((1,2",
        "five ",
        "not ",
    ),
    *(
        "answer is ",
        "answer: B. ",
        "```json\n",
        "-",
        " - ",
        "[",
        "=",
        "*",
        "a ",
        "一",
        "A. chair B. table ",
        "move_right:1,",
    ),
)
FIRST = {}
for name, _, item, *_ in (*CASES, *NEWER):
    FIRST.setdefault(name, item)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_no_response_takes_long(name):
    """Five milliseconds a kilobyte are allowed for a busy machine; what is quadratic takes hundreds."""
    item = {"id": "x", **FIRST[name]}
    for scoring in get_benchmark(name).scorings:
        with contextlib.suppress(ValueError):  # what is read once, such as a mask
            score_response(name, "", item, scoring)
        for piece in PIECES:
            text = (piece * (48_000 // len(piece) + 1))[:48_000]
            taken = []
            for _ in range(3):
                begin = time.process_time()
                with contextlib.suppress(ValueError):
                    score_response(name, text, item, scoring)
                taken.append(time.process_time() - begin)
                if taken[-1] <= 0.24:
                    break
            assert min(taken) <= 0.24, (scoring, piece)

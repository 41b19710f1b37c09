"""A language model as judge of an evaluation: the same as in training (rewards/judge.py), and how far it agrees with
people.

Answers to questions whose reward is "judge" are graded as training grades them. A benchmark's answers are graded only
where rules could not read more than JUDGED_BEYOND of them, as EASI scores such a benchmark again; a verdict is right or
wrong, and an answer without one is left out and counted.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spatial_jax.ending import asking_threads
from spatial_jax.endpoints import mask_secrets
from spatial_jax.evals.benchmarks.base import Benchmark, option_texts
from spatial_jax.evals.intervals import wilson_interval
from spatial_jax.evals.results import ScoredItem
from spatial_jax.evals.settings import JUDGED_BEYOND, JudgeSettings
from spatial_jax.reading import lines_of, parse_object
from spatial_jax.rewards import RewardUnavailable, score
from spatial_jax.rewards.judge import Judge, described_judge

SHOWN_ANSWER = 2000  # of a response's end, as rewards of kind judge show at most
CASE_FIELDS = ("question", "answer", "response", "correct")
T, R = TypeVar("T"), TypeVar("R")
Progress = Callable[[int, int], None]


@dataclasses.dataclass
class Grader:
    """A judge, how many answers it grades at a time, and what it said before. `agreement`: with hand-checked cases,
    where those were given.
    """

    judge: Judge
    threads: int = 8
    agreement: dict[str, Any] | None = None
    progress: Callable[[str], Progress] | None = None  # a printer for a name

    def map(self, work: Callable[[T], R], jobs: Sequence[T], name: str) -> list[R]:
        """work(job) of each, in order, as many at a time as the judge is asked at once."""
        show = self.progress(f"{name} (judge)") if self.progress and jobs else None
        if show:
            show(0, len(jobs))
        with asking_threads(self.threads, "judge") as pool:
            futures = [pool.submit(work, job) for job in jobs]
            for done, _ in enumerate(concurrent.futures.as_completed(futures), 1):
                if show:
                    show(done, len(jobs))
        return [future.result() for future in futures]

    def entry(self) -> dict[str, Any]:
        """What a result says of its judge."""
        told = {
            "model": self.judge.config.model,
            "endpoint": mask_secrets(self.judge.config.endpoint),
            **self.judge.counts,
        }
        return told | ({"agreement": self.agreement} if self.agreement else {})


def make_grader(settings: JudgeSettings, progress: Callable[[str], Progress] | None = None) -> Grader | None:
    """The grader that the settings describe, None without an endpoint. ValueError where they describe half of one."""
    config = described_judge(
        settings.endpoint,
        settings.model,
        settings.key_variable,
        settings.cache,
        timeout=settings.timeout_s,
        where="judge_",
    )
    return None if config is None else Grader(Judge(config), settings.threads, progress=progress)


def share_unread(items: Iterable[ScoredItem]) -> float:
    """The share of responses that rules could read nothing of."""
    parsed = [value for item in items for value in item.parsed]
    return sum(value is None for value in parsed) / len(parsed) if parsed else 0.0


def grade_unread(
    benchmark: Benchmark,
    items: Sequence[Mapping[str, Any]],
    scored: Sequence[ScoredItem],
    rows: Mapping[str, Mapping[str, Any]],
    scoring: str,
    grader: Grader,
) -> tuple[list[ScoredItem], dict[str, Any]]:
    """(the items with their unread responses graded, what the result says of it). Nothing is graded where rules have
    read enough. An empty response is wrong without a question to the judge; one without a verdict is nan: left out.
    """
    unread = share_unread(scored)
    if unread <= JUDGED_BEYOND:
        return list(scored), {}
    jobs = [
        (place, number, text)
        for place, item in enumerate(scored)
        if not rows[item.id].get("error")
        for number, text in enumerate(rows[item.id].get("responses") or [""])
        if item.parsed[number] is None and text and str(text).strip()
    ]

    def verdict(job: tuple[int, int, str]) -> bool | None:
        place, _, text = job
        question, options, truth = shown_item(benchmark, items[place], scoring)
        try:
            return grader.judge.correct(question, options, truth, str(text)[-SHOWN_ANSWER:])
        except RewardUnavailable:
            return None

    verdicts = grader.map(verdict, jobs, benchmark.name)
    graded = list(scored)
    for (place, number, _), right in zip(jobs, verdicts):
        item = graded[place]
        value = math.nan if right is None else float(right)
        parsed = _read_right(benchmark, items[place], scoring) if right else item.parsed[number]
        graded[place] = dataclasses.replace(
            item,
            scores=_put(item.scores, number, value),
            correct=_put(item.correct, number, value),
            parsed=_put(item.parsed, number, parsed),
        )
    entry = {
        "unread": unread,
        "graded": sum(v is not None for v in verdicts),
        "right": sum(bool(v) for v in verdicts),
        "excluded": sum(v is None for v in verdicts),
    }
    return graded, entry


def _put(values: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _read_right(benchmark: Benchmark, item: Mapping[str, Any], scoring: str) -> Any:
    return benchmark.score(benchmark.oracle(item, scoring), item, scoring)[1]


def shown_item(benchmark: Benchmark, item: Mapping[str, Any], scoring: str) -> tuple[str, list[str], str]:
    """(question as it was asked, options, true answer) of an item for a judge; a letter stands with its option."""
    options = {letter: str(text) for letter, text in option_texts(item).items()}
    truth = benchmark.oracle(item, scoring).strip()
    letter = truth.strip("().: ")[:1] if len(truth.strip("().: ")) == 1 else ""
    if letter in options and not options[letter].startswith(letter):
        truth = f"{letter}. {options[letter]}"
    shown = [text if text.startswith(letter) else f"{letter}. {text}" for letter, text in options.items()]
    return benchmark.prompt(item, scoring).replace("<image>", "").strip(), shown, truth


def read_cases(path: str | Path) -> list[dict[str, Any]]:
    """Hand-checked cases, an object a line: question, answer (the true one), response, correct (what a person said),
    options where there are some. ValueError naming the line that is none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: hand-checked cases cannot be read ({error})") from None
    cases = []
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            continue
        try:
            case = parse_object(line)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is not a JSON object ({error})") from None
        lacking = next((field for field in CASE_FIELDS if field not in case), "")
        if lacking or not isinstance(case["correct"], bool):
            problem = f"lacks {lacking!r}" if lacking else "correct must be true or false"
            raise ValueError(f"{path}: line {number}: {problem}; a case has {', '.join(CASE_FIELDS)}")
        cases.append(case)
    if not cases:
        raise ValueError(f"{path}: holds no hand-checked case")
    return cases


def measure_agreement(grader: Grader, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How often the judge says what people said: {"cases", "agree", "accepts_wrong", "rejects_right", "no_verdict",
    "share", "share_ci", "examples" of disagreements}. The share is of cases with a verdict.
    """

    def verdict(case: Mapping[str, Any]) -> bool | None:  # as the reward gives it: equal texts are not asked about
        try:
            return bool(score({"kind": "judge"}, str(case["response"]), case, judge=grader.judge))
        except RewardUnavailable:
            return None

    verdicts = grader.map(verdict, cases, "hand-checked cases")
    known = [(case, v) for case, v in zip(cases, verdicts) if v is not None]
    agree = sum(v == case["correct"] for case, v in known)
    return {
        "cases": len(cases),
        "agree": agree,
        "accepts_wrong": sum(v and not case["correct"] for case, v in known),
        "wrong": sum(not case["correct"] for case, _ in known),
        "rejects_right": sum(case["correct"] and not v for case, v in known),
        "right": sum(case["correct"] for case, _ in known),
        "no_verdict": len(cases) - len(known),
        "share": agree / len(known) if known else math.nan,
        "share_ci": wilson_interval(agree, len(known)),
        "examples": [
            {
                "question": case["question"],
                "answer": case["answer"],
                "response": str(case["response"])[:200],
                "judge": v,
            }
            for case, v in known
            if v != case["correct"]
        ][:10],
    }


def agreement_text(grader: Grader, told: Mapping[str, Any]) -> str:
    """The agreement for a console, a line a disagreement."""
    model, counted = grader.judge.config.model, told["cases"] - told["no_verdict"]
    if not counted:
        return f"judge {model}: no verdict on any of {told['cases']} hand-checked cases"
    low, high = told["share_ci"]
    head = (
        f"judge {model}: agrees on {told['agree']} of {counted} hand-checked cases, {100 * told['share']:.1f} %"
        f" [{100 * low:.1f}, {100 * high:.1f}]; calls {told['accepts_wrong']} of {told['wrong']} wrong answers right,"
        f" {told['rejects_right']} of {told['right']} right ones wrong"
    )
    head += f"; no verdict on {told['no_verdict']}" if told["no_verdict"] else ""
    shown = [
        f"  says {'right' if case['judge'] else 'wrong'}: {str(case['response'])[:200]!r} to"
        f" {str(case['question'])[:80]!r}"
        f" (true: {str(case['answer'])[:60]!r})"
        for case in told["examples"][:5]
    ]
    return "\n".join([head, *shown])

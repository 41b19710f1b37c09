"""Tokens passed and wall time of rollouts of ten turns: caches that stay, against passing all earlier turns again.

    python -m benchmarks.turns               # CPU, about two minutes; writes benchmarks/results/turns.json

Four picture prompts x 4 samples. A turn ends at one token in 12, or after 64; a picture is shown after each. Both ways
run in one process with the same weights, prompts and keys; that their answers are equal is checked here, too.
`passed_over_distinct`: tokens through the decoder for each token of a prompt (once a group) or an answer;
`places_over_distinct` counts padding and idle slots as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flax import nnx

from benchmarks.policies import describe, picture_prompt, time_calls, tiny_config, write_result
from spatial_jax.models import QwenVL, split_model
from spatial_jax.processing import EncodedPrompt
from spatial_jax.rollout import Engine, SamplingParams, Trajectory, Turn, extend, run_turns
from spatial_jax.rollout.types import Work

PROMPTS, GROUP, LENGTH, TURN, TURNS, GRID = 4, 4, 192, 64, 10, (12, 16)
TOTAL = 1536


def repeat_turns(
    engine: Engine,
    params: Any,
    prompts: Sequence[EncodedPrompt],
    group_size: int,
    sampling: SamplingParams,
    environment: Callable[[Trajectory], EncodedPrompt | None],
    *,
    max_turns: int,
    max_tokens: int,
    step: int = 0,
) -> tuple[list[list[Trajectory]], Work]:
    """What `run_turns` answers, by a new call a turn that passes the prompts and all earlier turns again: its
    reference. With it the work of all calls.
    """
    work = Work()

    def call(rows: Sequence[int], earlier: Any) -> list[list[Trajectory]]:
        given = [prompts[i] for i in rows]
        made = engine._generate(
            params, given, group_size, sampling, step, None, list(rows), earlier, len(prompts) if earlier else 0
        )
        work.add(engine.work.tokens, engine.work.places)
        work.steps += engine.work.steps
        return made

    groups = call(range(len(prompts)), None)
    going = {(i, j): groups[i][j] for i in range(len(prompts)) for j in range(group_size)}
    for _ in range(max_turns - 1):
        shown = {place: environment(sample) for place, sample in going.items() if sample.finish_reason == "stop"}
        kept = {
            place: observation
            for place, observation in shown.items()
            if observation is not None and len(going[place]) + len(observation) + sampling.max_new_tokens <= max_tokens
        }
        if not kept:
            break
        rows, earlier = sorted({i for i, _ in kept}), []
        for i in rows:
            stand_in = min(j for k, j in kept if k == i)  # in the places of samples that have ended
            chosen = [j if (i, j) in kept else stand_in for j in range(group_size)]
            earlier.append([[*groups[i][j].turns, Turn(kept[i, j].input_ids, kept[i, j])] for j in chosen])
        turns = call(rows, earlier)
        going = {}
        for i, j in kept:
            going[i, j] = groups[i][j] = extend(groups[i][j], kept[i, j], turns[rows.index(i)][j])
    return groups, work


def same_answers(ours: Sequence[Sequence[Trajectory]], theirs: Sequence[Sequence[Trajectory]]) -> float:
    """The largest difference of a log-probability; AssertionError where a token differs."""
    gaps = [0.0]
    for a, b in zip((t for group in ours for t in group), (t for group in theirs for t in group), strict=True):
        assert a.tokens.tolist() == b.tokens.tolist() and a.finish_reason == b.finish_reason
        gaps.append(float(np.max(np.abs(a.full_logp - b.full_logp))))
    return max(gaps)


def main() -> None:
    config = tiny_config(128, 384, 3, 4, 2)
    prompts = [picture_prompt(config, LENGTH, GRID, seed) for seed in range(PROMPTS)]
    pictures = [picture_prompt(config, 24 + GRID[0] * GRID[1] // 4, GRID, 100 + seed) for seed in range(8)]
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))
    sampling = SamplingParams(TURN, stop_ids=tuple(range(16, config.text.vocab_size, 12)), banned_ids=(5, 6, 7, 8))
    told: dict[str, Any] = {"max_turns": TURNS, "max_tokens": TOTAL}

    def environment(sample: Trajectory) -> EncodedPrompt:
        return pictures[(sample.prompt_index + sample.sample_index + len(sample.turns)) % len(pictures)]

    def engine() -> Engine:
        return Engine(
            graphdef,
            config,
            max_slots=PROMPTS * GROUP,
            prompt_buckets=(LENGTH,),
            answer_buckets=(TURN, 256, 512, 1024, TOTAL),
            pad_id=0,
        )

    result: dict[str, Any] = {
        "prompts": PROMPTS,
        "group": GROUP,
        "prompt_tokens": LENGTH,
        "turns": TURNS,
        "turn_tokens": TURN,
        "shown_tokens": len(pictures[0]),
        "model": describe(config),
    }

    def measure(name: str, made: Engine, run: Callable[[], tuple[list[list[Trajectory]], Work]]) -> list:
        groups, work = run()
        distinct = sum(map(len, prompts)) + sum(len(sample) for group in groups for sample in group)
        result[name] = {
            "answers": sum(map(len, groups)),
            "turns_mean": round(float(np.mean([(len(t.turns) + 1) / 2 for g in groups for t in g])), 2),
            "distinct_tokens": distinct,
            "passed_over_distinct": round(work.tokens / distinct, 3),
            "places_over_distinct": round(work.places / distinct, 3),
            "decode_steps": work.steps,
            "programs": len(made.programs),
            **time_calls(run, 2),
        }
        return groups

    ours, theirs = engine(), engine()

    def kept() -> tuple[list[list[Trajectory]], Work]:
        return run_turns(ours, params, prompts, GROUP, sampling, environment, **told), ours.work

    new = measure("caches_kept", ours, kept)
    old = measure(
        "turns_repeated",
        theirs,
        lambda: repeat_turns(theirs, params, prompts, GROUP, sampling, environment, **told),
    )
    result["largest_logp_difference"] = same_answers(new, old)
    for key in ("wall_s", "cpu_s"):
        result[f"repeated_over_kept_{key}"] = round(result["turns_repeated"][key] / result["caches_kept"][key], 2)
    write_result("turns", "python -m benchmarks.turns", result)


if __name__ == "__main__":
    main()

"""Several turns: the ledger of a sample's tokens, and the loop that lets an environment answer between turns.

A trajectory is append-only, by token id: what was sampled stays as sampled, what the environment shows is appended as
its own tokens with its own pictures. Positions of later turns continue where the earlier ones ended.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spatial_jax.processing.prompt import EncodedPrompt
from spatial_jax.rollout.engine import Engine
from spatial_jax.rollout.types import SamplingParams, Trajectory, Turn

THREADS = 8
# What the environment makes of a sample so far: an observation to append (its text closes the turn and opens the next),
# or None to end.
Environment = Callable[[Trajectory], EncodedPrompt | None]


def join_trajectories(first: Trajectory, then: Trajectory) -> Trajectory:
    """One trajectory of both, ended as the second is; the first's places."""
    arrays = {
        name: np.concatenate([getattr(first, name), getattr(then, name)])
        for name in ("tokens", "sampler_logp", "full_logp", "loss_mask")
    }
    return Trajectory(
        **arrays,
        finish_reason=then.finish_reason,
        prompt_index=first.prompt_index,
        sample_index=first.sample_index,
        turns=[*first.turns, *then.turns],
    )


def extend(trajectory: Trajectory, observation: EncodedPrompt, turn: Trajectory) -> Trajectory:
    """The trajectory with what the environment showed and the turn sampled after it; shown tokens carry no loss and
    log-probability 0.
    """
    zeros = np.zeros(len(observation), np.float32)
    shown = Trajectory(
        observation.input_ids,
        zeros,
        zeros,
        "stop",
        trajectory.prompt_index,
        trajectory.sample_index,
        np.zeros(len(observation), bool),
        [Turn(observation.input_ids, observation)],
    )
    return join_trajectories(join_trajectories(trajectory, shown), turn)


def run_turns(
    engine: Engine,
    params: Any,
    prompts: Sequence[EncodedPrompt],
    group_size: int,
    sampling: SamplingParams,
    environment: Environment,
    *,
    max_turns: int,
    max_tokens: int,
    step: int = 0,
    prompt_ids: Sequence[int] | None = None,
    on_finish: Callable[[int, Sequence[Trajectory]], None] | None = None,
) -> list[list[Trajectory]]:
    """Groups of answers of up to `max_turns` sampled turns and `max_tokens` tokens in all (shown ones included).

    environment(trajectory) is asked after each turn; None ends the sample, as do a turn cut by its length and a budget
    that the observation and one more turn of sampling.max_new_tokens would exceed. Samples of a group that go on are
    decoded together; the rest wait. Environments of many samples are asked from threads. step, prompt_ids and on_finish
    as `Engine.generate` takes them; groups finish together.
    """
    ids = list(range(len(prompts))) if prompt_ids is None else list(prompt_ids)
    groups = engine.generate(params, prompts, group_size, sampling, step=step, prompt_ids=ids)
    going = {(i, j) for i, group in enumerate(groups) for j in range(len(group))}
    for _ in range(max_turns - 1):
        observations: dict[tuple[int, int], EncodedPrompt] = {}
        asked = [(i, j) for i, j in sorted(going) if groups[i][j].finish_reason == "stop"]
        with concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="environment") as pool:
            answers = list(pool.map(lambda place: environment(groups[place[0]][place[1]]), asked))
        for (i, j), shown in zip(asked, answers):
            if shown is not None and len(groups[i][j]) + len(shown) + sampling.max_new_tokens <= max_tokens:
                observations[i, j] = shown
        going = set(observations)
        if not going:
            break
        rows = sorted({i for i, _ in going})
        # A group's shape is fixed, so samples that ended are decoded along and dropped: they repeat a sample that goes
        # on.
        earlier = []
        for i in rows:
            stand_in = min(j for k, j in going if k == i)
            chosen = [j if (i, j) in going else stand_in for j in range(group_size)]
            earlier.append(
                [[*groups[i][j].turns, Turn(observations[i, j].input_ids, observations[i, j])] for j in chosen]
            )
        turns = engine.continue_turns(
            params,
            [prompts[i] for i in rows],
            earlier,
            sampling,
            step=step,
            prompt_ids=[ids[i] for i in rows],
            most=len(prompts),
        )
        for row, i in enumerate(rows):
            for j in range(group_size):
                if (i, j) in going:
                    groups[i][j] = extend(groups[i][j], observations[i, j], turns[row][j])
    for index, group in enumerate(groups):
        if on_finish is not None:
            on_finish(index, group)
    return groups

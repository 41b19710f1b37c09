"""Questions on one clip (or on the same pictures) pass it once: in a rollout, and in the update on its answers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from spatial_jax.data import EncodedQuestion
from spatial_jax.processing.prompt import prefix, shared_length
from spatial_jax.rollout import Engine, Trajectory
from spatial_jax.rollout.answerer import Answerer
from spatial_jax.rollout.shared import SharedPrompts
from spatial_jax.rollout.turns import join_trajectories
from spatial_jax.training.answers import Draws, OnFinish, sample_groups
from spatial_jax.training.batches import Buckets, GroupBatch, rollout_batch, shown_tokens
from spatial_jax.training.rollouts import Rollout
from spatial_jax.training.setup import Setup


def by_picture(
    questions: Sequence[EncodedQuestion], most: int, buckets: Buckets, answer: int | None = None
) -> list[list[EncodedQuestion]]:
    """Neighbours on the same pictures as groups of at most `most`, in order; they stay alone where their prompts part
    before the picture's end, or their own parts would not fit the answer buckets with answers of `answer` tokens (None:
    with their written ones).
    """
    groups = []
    for _, same in itertools.groupby(questions, key=lambda q: (q.dataset, q.record.scene_id, q.record.images)):
        rest = list(same)
        for at in range(0, len(rest), most):
            group = rest[at : at + most]
            shared = shared_length([s.prompt for s in group])
            lengths = [len(s.target_ids) if answer is None else answer for s in group]
            ends = [len(s.prompt) - shared + n for s, n in zip(group, lengths)]
            fits = shared > 0 and max(ends) <= max(buckets.answer)
            groups += [group] if fits else [[s] for s in group]
    return groups


def sets_of(questions: Sequence[EncodedQuestion], setup: Setup) -> list[list[int]]:
    """Places of the questions that pass their clip together, config.rollout.together at most; every place once."""
    rollout, places = setup.run.rollout, iter(range(len(questions)))
    groups = by_picture(questions, rollout.together, setup.buckets, rollout.total_tokens)
    return [[next(places) for _ in group] for group in groups]


def sample_sets(
    engine: Engine,
    params: Any,
    questions: Sequence[EncodedQuestion],
    sets: Sequence[Sequence[int]],
    draws: Draws,
    *,
    prompt_ids: Sequence[int],
    on_finish: OnFinish,
) -> dict[int, list[Trajectory]]:
    """A group of answers to each question of the sets (of two or more), by its place: what a set's prompts begin with
    passes once. A set's answers are drawn by its first question's id.
    """
    groups: dict[int, list[Trajectory]] = {}
    by_size: dict[int, list[Sequence[int]]] = {}
    for places in sets:
        by_size.setdefault(len(places), []).append(places)
    for _, alike in sorted(by_size.items()):
        shared = [_repeat([questions[i] for i in places], places, draws.size) for places in alike]

        def finish(index: int, answers: Sequence[Trajectory], alike: Sequence[Sequence[int]] = alike) -> None:
            for number, place in enumerate(alike[index]):
                groups[place] = list(answers[number * draws.size : (number + 1) * draws.size])
                for sample, answer in enumerate(groups[place]):
                    answer.prompt_index, answer.sample_index = place, sample
                on_finish(place, groups[place])

        ids = [prompt_ids[places[0]] for places in alike]
        engine.continue_shared(params, shared, draws.sampling, prompt_ids=ids, step=draws.step, on_finish=finish)
    return groups


def _repeat(questions: Sequence[EncodedQuestion], places: Sequence[int], group_size: int) -> SharedPrompts:
    """The questions' prompts as one set, with each end as often as it is answered."""
    cut = shared_length([q.prompt for q in questions])
    ends = tuple(q.prompt.input_ids[cut:] for q in questions for _ in range(group_size))
    return SharedPrompts(tuple(places), prefix(questions[0].prompt, cut), ends)


def sets_batch(
    sets: Sequence[Sequence[tuple[EncodedQuestion, Sequence[Trajectory], np.ndarray, np.ndarray]]],
    size: int,
    rows: int,
    buckets: Buckets,
) -> GroupBatch:
    """A micro-batch of `rows` sets of at most `size` questions on one clip, each with its answers, their advantages [g]
    and which of them train [g]. A row is what its prompts begin with, and behind it each question's own end with each
    of its answers; the loss counts the answers. What is missing is filled up with what does not train.
    """
    given = [*sets, *[sets[0]] * (rows - len(sets))]
    count = len(sets[0][0][1])
    empty = shown_tokens(np.zeros(0, np.int32))
    advantages, keep = np.zeros((rows, size * count)), np.zeros((rows, size * count), bool)
    prompts, groups = [], []
    for row, members in enumerate(given):
        first = members[0][0].prompt
        cut = shared_length([question.prompt for question, *_ in members]) if len(members) > 1 else len(first) - 1
        prompts.append(prefix(first, cut))
        answers: list[Trajectory] = []
        for number, (question, group, advantage, trains) in enumerate(members):
            end = shown_tokens(question.prompt.input_ids[cut:])
            answers += [join_trajectories(end, answer) for answer in group]
            where = slice(number * count, (number + 1) * count)
            advantages[row, where], keep[row, where] = advantage, trains & (row < len(sets))
        groups.append(answers + [empty] * (size * count - len(answers)))
    return rollout_batch(prompts, groups, advantages, keep, buckets)


def sample_together(
    setup: Setup,
    answerer: Answerer,
    params: Any,
    questions: Sequence[EncodedQuestion],
    draws: Draws,
    *,
    first: int,
    on_finish: OnFinish,
) -> list[list[Trajectory]]:
    """A group of answers to each question of a run, in order; config.rollout.together neighbours on one clip pass it
    once. `first`: id of the first question, for the random keys.
    """
    ids = range(first, first + len(questions))
    several = [places for places in sets_of(questions, setup) if len(places) > 1]
    groups = sample_sets(answerer.engine, params, questions, several, draws, prompt_ids=ids, on_finish=on_finish)
    alone = [i for i in range(len(questions)) if i not in groups]

    def finish(index: int, group: Sequence[Trajectory]) -> None:
        on_finish(alone[index], group)

    if alone:
        asked, numbers = [questions[i] for i in alone], [ids[i] for i in alone]
        found = sample_groups(answerer, params, asked, draws, prompt_ids=numbers, on_finish=finish)
        groups |= dict(zip(alone, found))
    return [groups[i] for i in range(len(questions))]


def together_batches(setup: Setup, rollout: Rollout, rows: Sequence[int], trains: np.ndarray) -> list[GroupBatch]:
    """Micro-batches of these rows of a rollout, sets of like size together, of about `micro_prompts` questions each;
    trains [rows, g]: which answers do.
    """
    rows, micro = sorted(rows), setup.run.train.micro_prompts
    which = dict(zip(rows, trains))
    sets = [[rows[i] for i in places] for places in sets_of([rollout.questions[i] for i in rows], setup)]
    # Sets of like length share a micro-batch, so short answers are not padded to the longest of the step.
    sets.sort(key=lambda places: max(len(t) for i in places for t in rollout.groups[i]))
    batches = []
    for size in sorted({power_of_two(len(places)) for places in sets}):
        alike = [places for places in sets if power_of_two(len(places)) == size]
        count = max(micro // size, 1)
        for at in range(0, len(alike), count):
            members = [
                [(rollout.questions[i], rollout.groups[i], rollout.advantages[i], which[i]) for i in places]
                for places in alike[at : at + count]
            ]
            batches.append(sets_batch(members, size, count, setup.buckets))
    return batches


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()

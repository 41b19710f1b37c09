"""What one rollout brought: groups of answers with their scores, as one table that can be cut and put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from spatial_jax.data import EncodedQuestion
from spatial_jax.drawing.environment import drawn_pictures
from spatial_jax.drawing.steps import Steps, figures, follow
from spatial_jax.rewards.scoring import Outcome
from spatial_jax.rl import constant_groups
from spatial_jax.rollout import Trajectory
from spatial_jax.rollout.features import FeatureStore
from spatial_jax.training.answers import drawing_environment, run_drawing
from spatial_jax.training.settings import LogSettings
from spatial_jax.training.setup import Setup


@dataclasses.dataclass
class Rollout:
    """b sampled groups with everything that was found out about them; arrays [b, g]."""

    questions: list[EncodedQuestion]
    groups: list[list[Trajectory]]
    texts: list[list[str]]
    outcomes: list[list[Outcome]]
    rewards: np.ndarray  # NaN where there is no score
    correct: np.ndarray  # NaN likewise
    advantages: np.ndarray
    reasons: list[str | None]  # why a group gives no gradient worth having; None where it does
    stale: bool = False  # sampled by the policy before the last update

    @property
    def constant(self) -> np.ndarray:
        """[b] groups whose scored answers all earn exactly the same."""
        return constant_groups(self.rewards)

    @classmethod
    def select(cls, rows: Sequence[tuple[Rollout, int]]) -> Rollout:
        """These rows of these rollouts as one."""
        lists: dict[str, Any] = {
            f.name: [getattr(rollout, f.name)[i] for rollout, i in rows]
            for f in dataclasses.fields(cls)
            if f.name != "stale"
        }
        columns: dict[str, Any] = {
            name: np.stack(values) if isinstance(values[0], np.ndarray) else values for name, values in lists.items()
        }
        return cls(**columns, stale=any(rollout.stale for rollout, _ in rows))

    @classmethod
    def concatenate(cls, rollouts: Sequence[Rollout]) -> Rollout:
        """All rows of several rollouts."""
        return (
            rollouts[0]
            if len(rollouts) == 1
            else cls.select([(r, i) for r in rollouts for i in range(len(r.questions))])
        )

    def encode_turns(self, features: FeatureStore, params: Any) -> None:
        """What a frozen tower makes of the pictures that were shown between turns goes in the place of their pixels."""
        turns = [turn for group in self.groups for answer in group for turn in answer.turns]
        shown = [(turn, turn.observation) for turn in turns if turn.observation is not None]
        for (turn, _), observation in zip(shown, features(params, [observation for _, observation in shown])):
            turn.observation = observation

    def gallery(self, count: int, setup: Setup) -> list[dict[str, Any]]:
        """The first `count` groups for the gallery, with what was drawn for them."""
        entries = []
        for i in range(min(count, len(self.questions))):
            question = self.questions[i]
            answers = [
                {
                    "text": text,
                    "reward": float(self.rewards[i, j]),
                    "advantage": float(self.advantages[i, j]),
                    "correct": bool(self.correct[i, j] == 1),
                    "finish_reason": self.groups[i][j].finish_reason,
                    "length": len(self.groups[i][j]),
                }
                for j, text in enumerate(self.texts[i])
            ]
            if setup.run.rollout.turns > 1:
                environment = drawing_environment(setup, [question])
                answers = [
                    {**answer, "drawn": environment.shown(dataclasses.replace(t, prompt_index=0))}
                    for answer, t in zip(answers, self.groups[i])
                ]
            size = list(question.prompt.model_sizes[0]) if question.prompt.model_sizes else None
            entries.append(
                {"record": question.record.as_dict(), "model_size": size, "answers": answers, "phase": "train"}
            )
        return entries

    def steps(self, setup: Setup) -> list[Steps]:
        """What each answer drew, and why it ended."""
        drawing = run_drawing(setup)
        return [
            follow(
                text,
                question.prompt.model_sizes,
                most=drawing.pictures,
                tools=drawing.tools,
                fit=lambda size: setup.processor.model_size(*size),
                near=drawing.near,
                cut=answer.finish_reason != "stop",
            )
            for question, texts, group in zip(self.questions, self.texts, self.groups)
            for text, answer in zip(texts, group)
        ]

    def metrics(self, setup: Setup) -> dict[str, float]:
        """What is logged of the answers, with what they drew where they may have several turns."""
        lengths = np.array([[len(t) for t in group] for group in self.groups])
        stopped = np.array([[t.finish_reason == "stop" for t in group] for group in self.groups])
        families = np.array([q.record.family or q.record.question_type for q in self.questions])
        out = {
            "reward/mean": float(np.nanmean(self.rewards)),
            "pass_rate": float(np.nanmean(self.correct)),
            # A judge that timed out leaves nan: means are of what has a score, and its share is reward/excluded.
            "group/std": float(np.nanmean(np.nanstd(self.rewards, axis=1, ddof=1))),
            "group/no_gradient": float(self.constant.mean()),
            "group/all_correct": float((np.nanmin(self.correct, axis=1) == 1).mean()),
            "group/none_correct": float((np.nanmax(self.correct, axis=1) == 0).mean()),
            "length/mean": float(lengths.mean()),
            "length/max": float(lengths.max()),
            "length/truncated": float(1 - stopped.mean()),
            "reward/excluded": float(np.isnan(self.rewards).mean()),
        }
        if setup.run.rollout.turns > 1:
            answers = [t for group in self.groups for t in group]
            # Playing every answer again is host work, which a policy that does not draw need not pay for.
            drawn = figures(self.steps(setup))
            out |= {
                "turns/mean": drawn.pop("turns"),
                "turns/drawn": float(np.mean([drawn_pictures(t) for t in answers])),
                **{f"turns/{name}": value for name, value in drawn.items()},
            }
        formats = [o.format for group in self.outcomes for o in group if o.format is not None]
        if formats:
            out["format/share"] = float(np.mean(formats))
        for family in sorted(set(families)):
            out[f"reward/{family}"] = float(np.nanmean(self.rewards[families == family]))
        return out


def gallery_groups(settings: LogSettings, step: int) -> int:
    """How many groups of a step go to the gallery."""
    return (
        settings.gallery_groups if settings.gallery_every and (step % settings.gallery_every == 0 or step == 1) else 0
    )

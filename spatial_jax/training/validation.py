"""Held-out questions asked while training: the same questions, seeds and scoring every time, answered by the parameters
that train.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np

from spatial_jax.data import DatasetError, EncodedQuestion, PromptStyle, QuestionEncoder, QuestionSource, open_questions
from spatial_jax.rollout.answerer import Answerer
from spatial_jax.training.answers import AnswerScorer, Draws, make_answerer, sample_groups, sampling_params
from spatial_jax.training.setup import Setup

log = logging.getLogger(__name__)
AT_ONCE = 64  # questions encoded and answered together: what is in memory at a time


class Validation:
    """`answerer` and `answers` may be those of the rollouts; without them it makes its own."""

    def __init__(self, setup: Setup, answerer: Answerer | None = None, answers: AnswerScorer | None = None):
        self._setup, data, self.settings = setup, setup.run.data, setup.run.validation
        self.answerer, self.answers = answerer or make_answerer(setup), answers or AnswerScorer(setup)
        self.sampling = dataclasses.replace(
            sampling_params(setup), temperature=self.settings.temperature, top_p=1.0, top_k=0, min_p=0.0
        )
        style = PromptStyle(data.prompt_mode, data.system, data.frames, data.fps)
        self._encoder = QuestionEncoder(setup.processor, style)
        sources = []
        for path in data.paths:
            try:
                sources.append(open_questions(path, self.settings.split, families=data.families))
            except DatasetError as error:
                log.warning("validation: %s; left out", error)
        if not any(len(source) for source in sources):
            raise ValueError(
                f"config.validation: none of config.data.paths has questions in its split {self.settings.split!r}; "
                "make one, or set config.validation.every to 0"
            )
        self._places = self._draw_places(sources)

    def _draw_places(self, sources: list[QuestionSource]) -> list[tuple[QuestionSource, int]]:
        places = [(source, i) for source in sources for i in range(len(source))]
        order = np.random.default_rng(0).permutation(len(places))[: self.settings.questions]
        return [places[i] for i in sorted(order)]

    def __call__(self, params: Any) -> dict[str, float]:
        """eval/reward, eval/accuracy, eval/truncated (means over questions) and eval/reward/FAMILY. `params`: the whole
        parameter tree.
        """
        families: dict[str, list[float]] = {}
        rewards, right, cut = [], [], []
        for start in range(0, len(self._places), AT_ONCE):
            places = range(start, min(start + AT_ONCE, len(self._places)))
            # The place among all is the id of a question's draws: the same answers however many are asked at a time.
            questions = [(p, self._encoder.finish(self._encoder(*self._places[p]))) for p in places]
            usable = [(p, s) for p, s in questions if isinstance(s, EncodedQuestion)]
            if not usable:
                continue
            shown = self._setup.encode([s for _, s in usable], params)
            groups = sample_groups(
                self.answerer,
                params,
                shown,
                Draws(self.settings.samples, self.sampling),
                prompt_ids=[p for p, _ in usable],
            )
            for (_, question), group in zip(usable, groups):
                outcomes = [o for o in self.answers(question, group).outcomes if o.reward is not None]
                if outcomes:
                    rewards.append(float(np.mean([o.reward for o in outcomes])))
                    right.append(float(np.mean([bool(o.correct) for o in outcomes])))
                    families.setdefault(question.record.family or question.record.question_type, []).append(rewards[-1])
                cut.append(float(np.mean([t.finish_reason != "stop" for t in group])))
        if not rewards:
            return {}
        return {
            "eval/reward": float(np.mean(rewards)),
            "eval/accuracy": float(np.mean(right)),
            "eval/truncated": float(np.mean(cut)),
            **{f"eval/reward/{family}": float(np.mean(values)) for family, values in sorted(families.items())},
        }

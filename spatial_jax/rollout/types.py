"""What goes into a rollout besides prompts, and what comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from spatial_jax.processing import EncodedPrompt


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """How answers are drawn.

    temperature: 0 is greedy; top_k 0, top_p 1.0 and min_p 0.0 are off; max_new_tokens: most tokens of an answer (of a
    turn); stop_ids: a token that ends the answer and belongs to it; banned_ids: never drawn, give the trainer's softmax
    the same; seed: with (step, prompt, sample, position) it determines every draw, whatever the batch layout.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    stop_ids: tuple[int, ...] = ()
    banned_ids: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop_ids", tuple(sorted(int(i) for i in set(self.stop_ids))))
        object.__setattr__(self, "banned_ids", tuple(sorted(int(i) for i in set(self.banned_ids))))
        if self.max_new_tokens < 1:
            raise ValueError(f"sampling: max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or not 0 <= self.min_p < 1 or self.top_k < 0:
            raise ValueError(
                f"sampling: need temperature >= 0, 0 < top_p <= 1, 0 <= min_p < 1 and top_k >= 0, got {self}"
            )

    @property
    def kind(self) -> str:
        """What of the draw shapes a program, in a word or two."""
        options = (("top_k", self.top_k, 0), ("top_p", self.top_p, 1.0), ("min_p", self.min_p, 0.0))
        return " ".join(
            [
                "sample" if self.temperature else "greedy",
                *(f"{name}={value}" for name, value, off in options if value != off),
            ]
        )

    @property
    def logit_temperature(self) -> float:
        """What logits are divided by; greedy decoding reports the log-probabilities of temperature 1."""
        return self.temperature or 1.0


@dataclasses.dataclass
class Work:
    """What answers cost, apart from the machine: `steps` of decoding, `tokens` that passed through the decoder, the
    `places` that they passed in (padding and idle slots are more), and the `distinct` tokens: of the prompts, once a
    group, and of all their answers.
    """

    steps: int = 0
    tokens: int = 0
    places: int = 0
    distinct: int = 0

    def add(self, tokens: int, places: int) -> None:
        """One pass more."""
        self.tokens += tokens
        self.places += places


@dataclasses.dataclass(eq=False)
class Turn:
    """A stretch of a trajectory: sampled tokens (observation None), or what the environment showed (`tokens` are the
    observation's).
    """

    tokens: np.ndarray
    observation: EncodedPrompt | None = None


@dataclasses.dataclass(eq=False)
class Trajectory:
    """One answer to one prompt, by token id; nothing is ever re-tokenised.

    tokens int32 [t]; sampler_logp float32 [t] under the truncated distribution the token was drawn from; full_logp
    float32 [t] under the full softmax at the same temperature (what ratios use); loss_mask bool [t], False for tokens
    that are not the policy's, whose log-probabilities are 0; finish_reason "stop" or "length"; turns: the tokens again,
    cut into sampled and shown parts.
    """

    tokens: np.ndarray
    sampler_logp: np.ndarray
    full_logp: np.ndarray
    finish_reason: str
    prompt_index: int
    sample_index: int
    loss_mask: np.ndarray
    turns: list[Turn]

    @classmethod
    def of_one_turn(
        cls,
        tokens: np.ndarray,
        sampler_logp: np.ndarray,
        full_logp: np.ndarray,
        finish_reason: str,
        prompt_index: int,
        sample_index: int,
    ) -> Trajectory:
        """An answer that is sampled throughout."""
        return cls(
            tokens,
            sampler_logp,
            full_logp,
            finish_reason,
            prompt_index,
            sample_index,
            np.ones(len(tokens), bool),
            [Turn(tokens)],
        )

    @classmethod
    def written(cls, tokens: np.ndarray | Sequence[int]) -> Trajectory:
        """An answer of one turn that is known by its token ids alone: its log-probabilities are nobody's, and 0."""
        ids = np.asarray(tokens, np.int32)
        unsampled = np.zeros(len(ids), np.float32)
        return cls.of_one_turn(ids, unsampled, unsampled, "stop", 0, 0)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def sampled(self) -> int:
        """Number of tokens the policy drew."""
        return int(self.loss_mask.sum())

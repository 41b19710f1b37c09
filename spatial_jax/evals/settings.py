"""What an evaluation can be told, as frozen dataclasses; `spatial_jax.evaluate` fills them from configs/eval_spatial.py
and its flags.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from spatial_jax.forms import FORMS
from spatial_jax.ranges import (
    Axis,
    Buckets,
    Count,
    NotNegative,
    Positive,
    Seed32,
    ShareAbove0,
    ShareBelow1,
    Whole,
    check_ranges,
)
from spatial_jax.rewards.by_family import parse_by_family

JUDGED_BEYOND = 0.025  # share of unread answers beyond which EASI scores a benchmark again with a judge
PUBLISHED = "published"  # the prompt mode of benchmarks as their authors ask them, whatever a policy was trained in


class _FormOrPublished:
    """The rule of a prompt mode (see ranges.py)."""

    def problem(self, value: Any) -> str:
        """What a name must be; "" where it is."""
        names = (PUBLISHED, *FORMS)
        return "" if value in names else f"it must be one of {', '.join(map(repr, names))}"


AskedForm = Annotated[str, _FormOrPublished()]


@dataclasses.dataclass(frozen=True)
class PolicySettings:
    """How the policy is loaded and how it sees."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16, on a CPU float32
    # What is None below is as the policy was trained (its export says so); of other checkpoints: the checkpoint's
    # smallest areas, 1,003,520 and 200,704 pixels at most, vanilla questions under the chat template's system text,
    # position rule "qwen".
    position_rule: Literal["qwen", "4.57", "hf5"] | None = None  # M-RoPE positions of videos and the text after them
    min_pixels: Count | None = None
    max_pixels: Count | None = None
    video_min_pixels: Count | None = None  # of a video's frame (of the whole clip for Qwen3-VL)
    video_max_pixels: Count | None = None
    system: str | None = None  # system message; "template": the chat template's own
    prompt_mode: AskedForm | None = None  # a response form, or published: benchmarks without one
    by_family: tuple[str, ...] = ()  # rewards of self-built questions, as training's config.reward.by_family; empty: as
    # trained


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """One greedy answer by default; samples > 1 gives pass@k and needs temperature > 0."""

    samples: Count = 1
    temperature: NotNegative = 0.0
    top_p: ShareAbove0 = 1.0
    top_k: Whole = 0
    min_p: ShareBelow1 = 0.0
    seed: Seed32 = 0
    max_new_tokens: Whole = 0  # 0: each benchmark's own limit; of self-built sets as trained, else 256, 1,024 with a
    # thought
    turns: Count | None = (
        None  # replies at most under prompt_mode "drawing", all within engine.answer_buckets' largest;
    )
    # None: as trained, else 10
    max_pictures: Count | None = None  # a drawing policy may come to; None: as trained, else 45 (ViLaSR's)
    frames: Whole = 0  # frames of a video; 0: as trained, else each benchmark's own


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """The rollout engine and its mesh."""

    max_slots: Count = 256
    prompts_per_call: Count = 64  # prompts encoded and handed over at a time
    share: bool = True  # greedy answers to questions on one video pass it once
    prompt_buckets: Buckets = (128, 256, 512, 1024, 2048, 4096, 8192)
    answer_buckets: Buckets = (32, 128, 512, 1024, 4096)
    data: Axis = -1  # mesh axes; -1: what remains; all 1: one device, no mesh
    fsdp: Axis = 1  # for weights that are too large otherwise: they are gathered for every token
    tensor: Axis = -1  # devices around one copy of the weights; -1: as many as the model divides over


@dataclasses.dataclass(frozen=True)
class JudgeSettings:
    """A language model as judge: of answers whose reward is "judge", and of a benchmark's answers that rules cannot
    read, where those are more than 2.5 % of it (as EASI does).
    """

    endpoint: str = ""  # OpenAI-compatible base URL, e.g. http://localhost:8000/v1; empty: no judge
    model: str = ""  # the model's name at the endpoint
    key_variable: str = ""  # environment variable that holds the endpoint's key; empty: none
    cache: str = ""  # SQLite file that keeps verdicts; empty: in memory
    timeout_s: Positive = 20.0  # of a verdict with all its retries; an answer without one is left out and counted
    threads: Count = 8  # answers graded at a time


@dataclasses.dataclass(frozen=True)
class EvalSettings:
    """Everything of configs/eval_spatial.py."""

    policy: PolicySettings = PolicySettings()
    sampling: SamplingSettings = SamplingSettings()
    engine: EngineSettings = EngineSettings()
    judge: JudgeSettings = JudgeSettings()

    def check(self) -> None:
        """ValueError, one line, for a value out of its range and for settings that contradict each other."""
        check_ranges(self)
        parse_by_family(self.policy.by_family)
        if self.sampling.samples > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"sampling.samples = {self.sampling.samples} with temperature 0 would repeat one answer; set"
                " --temperature 1.0"
            )

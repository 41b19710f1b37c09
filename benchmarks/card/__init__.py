"""What `benchmarks.one_gpu` measures on one card: the sizes of the work, and each part in a file of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.policies import picture_prompt, time_calls, tiny_config
from spatial_jax.models import ModelConfig, published_config
from spatial_jax.processing import EncodedPrompt


@dataclasses.dataclass(frozen=True)
class Work:
    """What is measured: a model; `prompts` prompts of `prompt` tokens with a picture of `grid` patches, `group`
    answers each of `rolled` tokens, one group's update with answers of `updated` tokens, of which transformers takes
    `rows` at once. `folder`: where parts leave what later ones take.
    """

    model: str
    layers: int
    folder: Path
    prompts: int = 8
    group: int = 16
    prompt: int = 1024
    grid: tuple[int, int] = (60, 60)
    rolled: int = 128
    updated: int = 256
    rows: int = 4

    @classmethod
    def tiny(cls, folder: Path) -> Work:
        """The same on a model and shapes for a CPU."""
        return cls("tiny", 2, folder, prompts=2, group=2, prompt=64, grid=(8, 8), rolled=8, updated=8, rows=1)

    @property
    def config(self) -> ModelConfig:
        """The published shape, with fewer decoder layers on request; or a tiny one."""
        if self.model == "tiny":
            return tiny_config(64, 128, self.layers, 4, 2)
        config = published_config(self.model)
        text = dataclasses.replace(config.text, num_layers=self.layers or config.text.num_layers)
        return dataclasses.replace(config, text=text)

    def made(self, config: ModelConfig) -> list[EncodedPrompt]:
        return [picture_prompt(config, self.prompt, self.grid, seed) for seed in range(self.prompts)]

    def drawn(self) -> list[np.ndarray]:
        """A group of answers to update on."""
        rng = np.random.default_rng(0)
        return [rng.integers(16, 1000, self.updated).astype(np.int32) for _ in range(self.group)]

    def rates(self, tokens: int, call: Callable[[], Any], repeats: int = 3) -> dict[str, Any]:
        """`call`, which waits for its result: the seconds of its first time and the least of the others."""
        repeats = 1 if self.model == "tiny" else repeats
        first, seconds = time_calls(call, 1)["wall_s"], time_calls(call, repeats)["wall_s"]
        return {"first_s": first, "seconds": seconds, "tokens_per_s": round(tokens / seconds, 1)}

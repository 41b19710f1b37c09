"""The methods by the name that config.train.method gives them: the one table."""

from __future__ import annotations

from spatial_jax.training.align import Align
from spatial_jax.training.dpo import Dpo
from spatial_jax.training.grpo import Grpo
from spatial_jax.training.method import Method
from spatial_jax.training.sft import Sft

METHODS: dict[str, type[Method]] = {"align": Align, "sft": Sft, "dpo": Dpo, "grpo": Grpo}

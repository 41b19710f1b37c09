"""M-RoPE positions on the host side. One function serves processing, sampler and trainer: it lives beside the model
that reads it.
"""

from spatial_jax.models.positions import batch_positions, row_positions, token_types

__all__ = ["batch_positions", "row_positions", "token_types"]

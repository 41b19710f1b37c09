"""spatial_jax: spatial reasoning for vision-language models on JAX and TPU."""

from spatial_jax.logs import skip_missing_chips

__version__ = "0.1.0"

skip_missing_chips()  # before anything imports jax, which looks for chips by what the environment says then

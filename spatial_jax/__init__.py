"""spatial_jax: spatial reasoning for vision-language models on JAX and TPU."""

__version__ = "0.1.0"

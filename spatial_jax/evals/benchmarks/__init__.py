"""One file a benchmark: items, prompt, parser, metric, aggregation. `spatial_jax.evals.registry` names them."""

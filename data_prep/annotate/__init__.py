"""`python -m data_prep.annotate`: pictures to a scene dataset. `build_pipeline` makes the pipeline of a spec in any
process.
"""

from data_prep.annotate.build import build_pipeline

__all__ = ["build_pipeline"]

"""From scenes to questions: Li 2025's families, multi-hop chains, language variation, Spatial-SSRL's five tasks,
VSI-100k's generator.

from data_prep.synthesis import Generator, Options, chosen
records = Generator(chosen("all"), Options(profile="full"), per_scene=6, seed=0)(scene)      # -> list of QuestionRecord
"""

from data_prep.synthesis.generate import Generator, generate
from data_prep.synthesis.options import Options
from data_prep.synthesis.priors import PriorTable, format_table
from data_prep.synthesis.registry import FAMILIES, chosen

__all__ = ["FAMILIES", "Generator", "Options", "PriorTable", "chosen", "format_table", "generate"]

"""From scenes to questions: Li 2025's families, multi-hop chains, language variation, Spatial-SSRL's five tasks,
VSI-100k's generator.

from data_prep.synthesis import Generator, Options, choose_families
# -> list of QuestionRecord
records = Generator(choose_families("all"), Options(profile="full"), per_scene=6, seed=0)(scene)
"""

from data_prep.synthesis.families import FAMILIES, choose_families
from data_prep.synthesis.generate import Generator, generate
from data_prep.synthesis.options import Options
from data_prep.synthesis.priors import PriorTable, format_table

__all__ = ["FAMILIES", "Generator", "Options", "PriorTable", "choose_families", "format_table", "generate"]

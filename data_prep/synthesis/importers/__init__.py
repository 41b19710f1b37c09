"""Published question sets into QuestionRecords: Spatial-SSRL parquet, VSI-100k JSON, ViLaSR's RL and SFT JSON, plain
jsonl.
"""

from data_prep.synthesis.importers.read import KINDS, import_records
from data_prep.synthesis.importers.rows import BadRow

__all__ = ["KINDS", "BadRow", "import_records"]

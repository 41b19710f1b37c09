"""Question sets into QuestionRecords: a file or folder of one's own under the usual column names, and the published
forms (Spatial-SSRL parquet, VSI-100k JSON, ViLaSR's RL and SFT JSON).
"""

from data_prep.synthesis.importers.columns import parse_columns
from data_prep.synthesis.importers.read import KINDS, Import, default_heldout, import_records
from data_prep.synthesis.importers.rows import BadRow

__all__ = ["KINDS", "BadRow", "Import", "default_heldout", "import_records", "parse_columns"]

"""A page of a dataset, for looking at it: `python -m data_prep.inspect DATASET`."""

from data_prep.inspect.questions import questions_page
from data_prep.inspect.records import Records
from data_prep.inspect.scenes import scenes_page

__all__ = ["Records", "questions_page", "scenes_page"]

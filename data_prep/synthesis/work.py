"""What `synthesize` makes questions of: scenes, rooms, rows of a question set."""

from __future__ import annotations

import abc
import argparse
import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterator

from data_prep.synthesis.refusals import Refusals
from spatial_jax.data.records import QuestionRecord

Item = tuple[str, list[QuestionRecord], str]  # item, its questions, why it has none


class Work(abc.ABC):
    """What is to be made questions of: items in order, a `digest` of the inputs (part of the dataset's identity, so
    that a resume on other data is told), and what to say at the end, good or bad.
    """

    digest = ""

    def __init__(self, args: argparse.Namespace):
        self.args, self.reasons, self.refused = args, collections.Counter[str](), Refusals()

    @abc.abstractmethod
    def items(self) -> Iterator[Item]:
        """The items, in an order that is always the same."""

    def plan(self) -> list[str]:
        """What would be asked of a model, for --dry_run."""
        return ["--dry_run says what --author_url would be asked on --scenes; here there is nothing to ask"]

    def lines(self) -> list[str]:
        """What is said of the inputs, beside the counts."""
        return []

    def advice(self) -> str:
        """What to do when not one question came out."""
        return ""


def with_judge(record: QuestionRecord) -> QuestionRecord:
    """The record with a judge as its reward; the rule that it had stays in its meta."""
    meta = record.json_field("meta") | {"ruled_by": record.json_field("reward")}
    return dataclasses.replace(record, reward=json.dumps({"kind": "judge"}), meta=json.dumps(meta))


def share_of(scene_id: str) -> int:
    """0 to 99, always the same for an id: below --heldout_percent it is held out."""
    return int(hashlib.sha1(scene_id.encode()).hexdigest()[:8], 16) % 100

"""Samples without end: shuffled, repeated, sharded by process, encoded in threads or worker processes, mixed by weights
that may change.

Grain gives shuffling, order and workers: element k of a stream is a pure function of (seed, k), the same for any number
of threads, workers or restarts. So an iterator's whole state is how many elements each stream has given; restoring it
is exact in the middle of an epoch, also with another number of workers.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import grain
import numpy as np

from spatial_jax.data.encode import EncodedQuestion, QuestionEncoder
from spatial_jax.data.integrity import DatasetError
from spatial_jax.data.records import QuestionRecord
from spatial_jax.data.source import QuestionSource, SkipCounter, Unusable
from spatial_jax.data.together import FlatBlocks, scene_blocks

log = logging.getLogger(__name__)
STATE_VERSION = 1


@dataclasses.dataclass(frozen=True)
class PipelineSettings:
    """How questions are made: by `workers` processes in all (at least one a dataset), or when that is 0 by `threads` a
    dataset, which is right for small pictures and for what fits the cache (threads share it, worker processes do not).
    `buffer`: questions made ahead a dataset; `together`: questions of one scene that follow each other (1: every
    question on its own).
    """

    seed: int = 0
    shuffle: bool = True
    workers: int = 0
    threads: int = 4
    buffer: int = 64
    together: int = 1
    process_index: int = 0
    process_count: int = 1


@dataclasses.dataclass(frozen=True)
class _EncodeAt:
    """Position in the source -> question; picklable, so that worker processes can have it."""

    source: QuestionSource
    encoder: QuestionEncoder

    def __call__(self, position: Any) -> EncodedQuestion | Unusable:
        return self.encoder(self.source, int(position))


@dataclasses.dataclass(frozen=True)
class _EncodeAndFinish(_EncodeAt):
    """The same with float32 pixels, for threads."""

    def __call__(self, position: Any) -> EncodedQuestion | Unusable:
        return self.encoder.finish(self.encoder(self.source, int(position)))


def stream_positions(size: int, settings: PipelineSettings, stream: int = 0) -> grain.MapDataset:
    """Endless positions 0 ... size - 1 of one process: every epoch in a new order, each process its own part, parts of
    equal size.
    """
    share = size // settings.process_count
    if share == 0:
        raise DatasetError(
            f"{size} records cannot be shared among {settings.process_count} processes; use a larger dataset"
        )
    positions = grain.MapDataset.range(size)
    if settings.shuffle:
        positions = positions.shuffle(seed=settings.seed * 1009 + stream)
    return positions[settings.process_index : share * settings.process_count : settings.process_count].repeat()


class _Stream:
    """One dataset's questions, from element `consumed` on."""

    def __init__(self, source: QuestionSource, encoder: QuestionEncoder, settings: PipelineSettings, number: int):
        self.source, self.encoder, self.settings, self.epoch = source, encoder, settings, len(source)
        if settings.together > 1:
            table = scene_blocks(source, settings.together)
            self.epoch = table.size
            self.positions: grain.MapDataset = FlatBlocks(stream_positions(len(table), settings, number), table)
        else:
            self.positions = stream_positions(len(source), settings, number)
        self.consumed = 0
        self._iterator: Any = None

    def next(self) -> EncodedQuestion | Unusable:
        if self._iterator is None:
            self._iterator = iter(self._dataset())
        try:
            element = next(self._iterator)
        except RuntimeError as error:  # Grain's word for a worker process that is gone
            if self.settings.workers == 0:
                raise
            why = str(error).split(". ")[0]
            raise DatasetError(
                f"{self.source.directory}: a worker process of the input pipeline ended ({why}), of too little memory"
                " as a rule; give fewer config.data.workers, or run the same command again"
            ) from error
        self.consumed += 1
        return element

    def seek(self, consumed: int) -> None:
        """Continues after `consumed` elements."""
        if consumed != self.consumed:
            self.close()
        self.consumed = consumed

    def close(self) -> None:
        """Ends threads and worker processes; `next` starts them again."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None and hasattr(iterator, "close"):
            iterator.close()

    def _dataset(self) -> grain.IterDataset:
        rest = self.positions[self.consumed :] if self.consumed else self.positions
        if self.settings.workers == 0:
            options = grain.ReadOptions(
                num_threads=self.settings.threads,
                prefetch_buffer_size=self.settings.buffer if self.settings.threads else 0,
            )
            return rest.map(_EncodeAndFinish(self.source, self.encoder)).to_iter_dataset(options)
        _parse_flags()
        count = self.settings.workers
        encoder = QuestionEncoder(self.encoder.processor, self.encoder.style, self.encoder.cache.limit // count)
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        made = rest.map(_EncodeAt(self.source, encoder)).to_iter_dataset(options)
        made = made.mp_prefetch(
            grain.MultiprocessingOptions(
                num_workers=count, per_worker_buffer_size=max(1, self.settings.buffer // count)
            )
        )
        return grain.experimental.ThreadPrefetchIterDataset(made.map(self.encoder.finish), prefetch_buffer_size=4)


class QuestionPipeline:
    """An endless iterator of Samples over one or more question datasets.

    `weights`: share of each dataset (default: by size); assign `pipeline.weights` at any time. `accept`: a function of
    the record that may pass a question over (a curriculum's retired questions); assign at any time. `skipped` counts
    unusable records, `passed_over` refused ones.
    """

    def __init__(
        self,
        sources: Sequence[QuestionSource],
        encoder: QuestionEncoder,
        settings: PipelineSettings | None = None,
        weights: Sequence[float] = (),
        accept: Callable[[QuestionRecord], bool] | None = None,
    ):
        if not sources:
            raise DatasetError("no dataset given; name at least one folder that data_prep.synthesize wrote")
        settings = settings or PipelineSettings()
        self.sources, self.settings, self.encoder, self.accept = list(sources), settings, encoder, accept
        self.skipped, self.passed_over, self.draws = SkipCounter(), 0, 0
        each = dataclasses.replace(settings, workers=-(-settings.workers // len(self.sources)))
        self._streams = [_Stream(source, encoder, each, i) for i, source in enumerate(self.sources)]
        self.weights = weights or [float(len(source)) for source in self.sources]

    @property
    def weights(self) -> tuple[float, ...]:
        """Share of each dataset, summing to 1."""
        return self._weights

    @weights.setter
    def weights(self, values: Sequence[float]) -> None:
        given = np.asarray(values, np.float64)
        if given.shape != (len(self.sources),) or not np.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
            raise ValueError(
                f"mixture weights {list(values)}: give one finite number >= 0 for each of the {len(self.sources)}"
                " datasets, not all 0"
            )
        self._weights = tuple((given / given.sum()).tolist())

    def __iter__(self) -> QuestionPipeline:
        return self

    def __next__(self) -> EncodedQuestion:
        stream = self._streams[self._choose()]
        self.draws += 1
        tries = 2 * len(stream.source) + 1
        for _ in range(tries):
            question = stream.next()
            if isinstance(question, Unusable):
                self.skipped.add(question)
            elif self.accept is None or self.accept(question.record):
                return question
            else:
                self.passed_over += 1
        raise DatasetError(
            f"{stream.source.directory}: none of {tries} questions in a row could be used ({self.skipped.total} records"
            f" are broken, the curriculum passed over {self.passed_over}); check the dataset or the curriculum"
        )

    def take(self, count: int) -> list[EncodedQuestion]:
        """The next `count` questions."""
        return [next(self) for _ in range(count)]

    def question(self, dataset: str, index: int) -> EncodedQuestion:
        """The question at `index` of the split of the dataset of that name, as the stream gives it. DatasetError where
        it cannot be made.
        """
        for source in self.sources:
            position = int(np.searchsorted(source.indices, index))
            if source.name == dataset and position < len(source) and source.indices[position] == index:
                question = self.encoder.finish(self.encoder(source, position))
                if isinstance(question, EncodedQuestion):
                    return question
                raise DatasetError(f"{question.where}: {question.reason}")
        raise DatasetError(
            f"{dataset}: no usable record {index} any more; resume with the data that the checkpoint was made with"
        )

    def get_state(self) -> dict[str, Any]:
        """JSON-ready state: everything that the next questions depend on."""
        return {
            "version": STATE_VERSION,
            "identity": self._identity(),
            "draws": self.draws,
            "consumed": [s.consumed for s in self._streams],
            "weights": list(self._weights),
            "passed_over": self.passed_over,
        }

    @property
    def digests(self) -> list[str]:
        """Of the datasets' contents, in order."""
        return [source.digest for source in self.sources]

    def set_state(self, state: dict[str, Any], *, changed: bool = False) -> None:
        """Continues exactly where `get_state` was taken. Raises ValueError when the datasets, seed or number of
        processes differ, unless that is meant (`changed`): then each stream goes on after as many questions as were
        taken, with the weights of now; where the number of datasets differs, all begin again.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(
                f"iterator state of version {state.get('version')}, this code reads {STATE_VERSION}; resume with the"
                " code that wrote it"
            )
        saved = state["identity"]
        # A state of before the contents were kept has no such entry.
        differing = [(key, value) for key, value in self._identity().items() if key in saved and saved[key] != value]
        if differing and not changed:
            key, value = differing[0]
            raise ValueError(
                f"the checkpoint's data differ: {key} was {saved[key]}, is {value}; "
                "resume with the same data settings, or start a new run from the exported weights"
            )
        if changed:
            if len(state["consumed"]) != len(self._streams):
                return
            state = {**state, "weights": self.weights}
        self.draws, self.passed_over, self.weights = (
            int(state["draws"]),
            int(state.get("passed_over", 0)),
            state["weights"],
        )
        for stream, consumed in zip(self._streams, state["consumed"]):
            stream.seek(int(consumed))

    def close(self) -> None:
        """Ends threads and worker processes. The pipeline can still be used: they start again."""
        for stream in self._streams:
            stream.close()

    @property
    def epochs(self) -> list[float]:
        """How often each dataset has been gone through by this process."""
        return [s.consumed * self.settings.process_count / s.epoch for s in self._streams]

    def _identity(self) -> dict[str, Any]:
        return {
            "datasets": [[s.name, s.split, len(s)] for s in self.sources],
            "contents": self.digests,
            "seed": self.settings.seed,
            "shuffle": self.settings.shuffle,
            "together": self.settings.together,
            "process": [self.settings.process_index, self.settings.process_count],
        }

    def _choose(self) -> int:
        if len(self._streams) == 1:
            return 0
        # Questions that are to stay together come from one dataset: one choice for all of a block.
        draw = np.random.default_rng((self.settings.seed, self.draws // self.settings.together)).random()
        return min(int(np.searchsorted(np.cumsum(self._weights), draw, side="right")), len(self._streams) - 1)


def _parse_flags() -> None:
    """Grain's worker processes read absl flags, which nobody has parsed outside absl's app.run."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()

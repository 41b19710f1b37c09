"""Requests in, responses saved: the policy's answers through the rollout engine, resumable in the middle."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from spatial_jax.checkpoints.manifest import hash_files
from spatial_jax.data.asked import Asking, read_asking, settle
from spatial_jax.evals.asking import Request, Set, Shape, Waiting, by_clip, cut_sets
from spatial_jax.evals.responses import ResponseLog
from spatial_jax.evals.settings import PUBLISHED, EngineSettings, EvalSettings, SamplingSettings
from spatial_jax.metrics import is_primary
from spatial_jax.models import checkpoint_directory, default_dtype, load_pretrained, read_config
from spatial_jax.models.sharding import tensor_ways
from spatial_jax.parallel import MESH_AXES, make_mesh
from spatial_jax.processing import Processor, choose_bucket
from spatial_jax.rollout import Engine, SamplingParams, Trajectory
from spatial_jax.rollout.answerer import Answerer, answer_text, drawing_asked, sampling_for

logger = logging.getLogger(__name__)

MAX_SHOWN = 5
DIGEST = 16  # characters


def sampled_turns(answer: Trajectory) -> list[list[int]]:
    """Token ids of each turn that the policy wrote."""
    return [[int(token) for token in turn.tokens] for turn in answer.turns if turn.observation is None]


def engine_mesh(settings: EngineSettings, ways: int) -> Mesh | None:
    """The mesh of the settings for a model that divides over at most `ways` devices; None for one device. ValueError
    where it does not fit them.
    """
    axes = {axis: getattr(settings, axis) for axis in MESH_AXES}
    if axes["tensor"] == -1:
        axes["tensor"] = math.gcd(ways, max(jax.device_count() // (max(axes["data"], 1) * max(axes["fsdp"], 1)), 1))
    return None if jax.device_count() == 1 or set(axes.values()) == {1} else make_mesh(axes)


def asking_told(settings: EvalSettings) -> dict[str, Any]:
    """What the settings say of how the policy is asked, for `settle`."""
    policy, sampling = settings.policy, settings.sampling
    names = (
        "prompt_mode",
        "system",
        "position_rule",
        "min_pixels",
        "max_pixels",
        "video_min_pixels",
        "video_max_pixels",
    )
    told = {name: getattr(policy, name) for name in names}
    if told["prompt_mode"] == PUBLISHED:
        told["prompt_mode"] = None
    told |= {"max_new_tokens": sampling.max_new_tokens or None, "frames": sampling.frames or None}
    told |= {"by_family": policy.by_family or None}
    return told | {"turns": sampling.turns, "max_pictures": sampling.max_pictures}


class Sampler:
    """A policy that answers requests: weights and an answerer, and how it is asked. `asked`: a line that says where the
    asking comes from; `remembers`: whether the checkpoint says how it was trained to be asked; `keeps_tokens`: rows
    hold the token ids of each answer's turns, too. `settings`: how many prompts a call has, and whether single greedy
    answers to questions on one clip share what their prompts begin with. After `respond`: `failed` requests, and
    `tokens` of prompts that passed, beside those that differ.
    """

    def __init__(
        self,
        params: Any,
        answerer: Answerer,
        name: str,
        folder: Path,
        settings: EngineSettings,
        asking: Asking,
        asked: str,
        remembers: bool,
    ):
        self.params, self.answerer, self.name, self.folder = params, answerer, name, folder
        self.engine, self.processor = answerer.engine, answerer.processor
        self.prompts_per_call, self.share = settings.prompts_per_call, settings.share
        self.asking, self.asked, self.remembers = asking, asked, remembers
        self.failed, self.tokens = 0, {"passed": 0, "distinct": 0}
        self.keeps_tokens = False

    @functools.cached_property
    def weights(self) -> str:
        """Short digest of the checkpoint's weights, shape and tokenizer, wherever the folder lies: the same path may
        hold another policy after more training. Of several processes all must ask together: the first reads the files
        (0.6 s of a core a GiB, and the whole of them where they lie in a bucket) and tells the others.
        """
        if jax.process_count() == 1:
            return self._hash_weights()
        own = self._hash_weights() if is_primary() else "0" * DIGEST
        told = multihost_utils.broadcast_one_to_all(np.frombuffer(own.encode(), np.uint8))
        return np.asarray(told, np.uint8).tobytes().decode()

    def _hash_weights(self) -> str:
        folder = epath.Path(self.folder)
        names = sorted(file.name for file in folder.glob("*.safetensors"))
        names += [name for name in ("config.json", "tokenizer.json") if (folder / name).exists()]
        files = json.dumps(hash_files(folder, names), sort_keys=True)
        return hashlib.sha256(files.encode()).hexdigest()[:DIGEST]

    @classmethod
    def from_directory(
        cls, directory: str | Path, settings: EvalSettings, recipe: Mapping[str, Any] | None = None
    ) -> Sampler:
        """Loads a checkpoint in Hugging Face layout (or a hub name) onto the mesh of `settings`, to be asked as a
        recipe's fields of Asking say, else as it was trained, in all that `settings` leave open.
        """
        path = checkpoint_directory(directory)
        policy, engine = settings.policy, settings.engine
        told = {name: value for name, value in asking_told(settings).items() if value is not None}
        asking, asked = settle(path, {**(recipe or {}), **told})
        remembers = recipe is not None or read_asking(path) is not None
        mesh = engine_mesh(engine, tensor_ways(read_config(path)))
        dtype = default_dtype() if policy.dtype == "auto" else policy.dtype
        # First what is quick: a folder without a chat template is told before its weights are read.
        processor = Processor.from_pretrained(path, **asking.limits(), position_rule=asking.position_rule)
        loaded = load_pretrained(path, dtype=dtype, mesh=mesh, position_rule=asking.position_rule)
        rollout = Engine(
            loaded.graphdef,
            loaded.config,
            max_slots=engine.max_slots,
            prompt_buckets=engine.prompt_buckets,
            answer_buckets=engine.answer_buckets,
            pad_id=processor.pad_id,
            mesh=mesh,
        )
        answerer = Answerer(rollout, processor, drawing_asked(asking, max(rollout.answer_buckets)))
        return cls(loaded.params, answerer, str(directory), path, engine, asking, asked, remembers)

    def sampling(
        self,
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        min_p: float = 0.0,
        seed: int = 0,
    ) -> SamplingParams:
        """SamplingParams with this policy's end tokens, and without its picture tokens."""
        return sampling_for(
            self.processor,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            seed=seed,
        )

    def sampling_of(self, chosen: SamplingSettings, max_new_tokens: int) -> SamplingParams:
        """`sampling` as an evaluation's settings say."""
        return self.sampling(
            max_new_tokens=max_new_tokens,
            temperature=chosen.temperature,
            top_p=chosen.top_p,
            top_k=chosen.top_k,
            min_p=chosen.min_p,
            seed=chosen.seed,
        )

    def respond(
        self,
        requests: Sequence[Request],
        samples: int,
        sampling: SamplingParams,
        log: ResponseLog | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """id -> {"responses": [text], "finish", "lengths", ...} of every request, in `log` as they come; what `log`
        holds already is kept, unless it answers something else under that id.

        A request that cannot be encoded gets {"responses": [], "error": line}."""
        rows: dict[str, dict[str, Any]] = dict(log.rows) if log else {}
        todo = [r for r in requests if r.id not in rows or rows[r.id].get("asked", "") != r.asked]
        left = {r.id for r in todo}
        self.failed, self.tokens = 0, {"passed": 0, "distinct": 0}
        if progress:
            progress(sum(r.id not in left for r in requests), len(requests))

        digests = {r.id: {"asked": r.asked} for r in requests if r.asked}

        def keep(row: dict[str, Any]) -> None:
            row |= digests.get(row["id"], {})
            rows[row["id"]] = row
            left.discard(row["id"])
            if log and is_primary():
                log.add(row)

        # Sets wait in one queue a static shape, so that every call but the last of a shape is of one size.
        queues: dict[Shape, list[Set]] = {}
        full: set[Shape] = set()

        def generate(shape: Shape, whole: bool) -> None:
            self._generate(shape, queues.pop(shape), samples, sampling, keep, pad=shape in full and not whole)
            if whole:
                full.add(shape)
            if progress:
                progress(sum(r.id not in left for r in requests), len(requests))

        greedy = samples == 1 and sampling.temperature == 0
        for clip in by_clip(todo):
            for shape, one in self._sets(clip, greedy and self.share, keep):
                queues.setdefault(shape, []).append(one)
                if len(queues[shape]) == self._sets_a_call(shape):
                    generate(shape, True)
        for shape in list(queues):
            generate(shape, False)
        if self.failed:
            logger.warning("%d of %d items could not be asked; they score 0", self.failed, len(requests))
        return rows

    def _sets_a_call(self, shape: Shape) -> int:
        return max(self.prompts_per_call // shape[0], 1)

    def _sets(
        self, clip: Sequence[Request], share: bool, keep: Callable[[dict[str, Any]], None]
    ) -> list[tuple[Shape, Set]]:
        """The requests on one clip, encoded; those that cannot be are kept with their error."""
        asked: list[Waiting] = []

        def fail(request: Request, error: Exception) -> None:
            self.failed += 1
            if self.failed <= MAX_SHOWN:
                logger.warning("item %s cannot be asked: %s", request.id, error)
            keep({"id": request.id, "responses": [], "error": str(error)})

        for request in clip:
            try:
                prompt, extra, pictures = request.encode()
                choose_bucket(len(prompt), self.engine.prompt_buckets, "prompt of length")
            except (ValueError, OSError) as error:
                fail(request, error)
                continue
            asked.append((request, extra, prompt, pictures))
        drawn = self.answerer.draws([pictures for *_, pictures in asked])
        sets = cut_sets(asked, self.engine, share and not drawn)
        for _, one in sets:
            lengths = sum(len(prompt) for _, _, prompt, _ in one.waiting)
            self.tokens["passed"] += one.shared.passed if one.shared else lengths
            self.tokens["distinct"] += one.shared.distinct if one.shared else lengths
        return sets

    def _generate(
        self,
        shape: Shape,
        sets: list[Set],
        samples: int,
        sampling: SamplingParams,
        keep: Callable[[dict[str, Any]], None],
        pad: bool,
    ) -> None:
        """One engine call. `pad`: of the shape of the full ones, so that nothing is compiled anew."""

        def finish(waiting: Waiting, answers: Sequence[Any], drawn: bool = False) -> None:
            request, extra, prompt, _ = waiting
            keep(
                {
                    "id": request.id,
                    "responses": [answer_text(t, self.processor, drawn) for t in answers],
                    "finish": [t.finish_reason for t in answers],
                    "lengths": [len(t.tokens) for t in answers],
                    **({"tokens": [sampled_turns(t) for t in answers]} if self.keeps_tokens else {}),
                    "model_sizes": [list(size) for size in prompt.model_sizes],
                    **extra,
                }
            )

        def finish_set(index: int, group: Sequence[Any]) -> None:
            for waiting, answer in zip(sets[index].waiting, group):
                finish(waiting, [answer])

        if shape[0] == 1:
            self._answer([one.waiting[0] for one in sets], samples, sampling, finish, pad)
            return
        shared = [one.shared for one in sets if one.shared is not None]
        self.engine.continue_shared(
            self.params,
            [dataclasses.replace(s, prefix=self.processor.normalise(s.prefix)) for s in shared],
            sampling,
            prompt_ids=[one.waiting[0][0].place for one in sets],
            most=self._sets_a_call(shape) if pad else 0,
            on_finish=finish_set,
        )

    def _answer(
        self,
        waiting: list[Waiting],
        samples: int,
        sampling: SamplingParams,
        finish: Callable[[Waiting, Sequence[Any], bool], None],
        pad: bool,
    ) -> None:
        """Questions that share nothing."""
        prompts = [self.processor.normalise(prompt) for _, _, prompt, _ in waiting]
        pictures = [shown for *_, shown in waiting]
        draws = self.answerer.draws(pictures)
        if pad:  # the last prompt again, until the call has as many as the full ones
            rows = min(1 << (self.prompts_per_call - 1).bit_length(), max(self.engine.max_slots // samples, 1))
            prompts += [prompts[-1]] * (rows // 2 + 1 - len(prompts))
        places = [request.place for request, *_ in waiting]
        places += places[-1:] * (len(prompts) - len(places))

        def finish_one(index: int, group: Sequence[Any]) -> None:
            if index < len(waiting):
                finish(waiting[index], group, draws)

        self.answerer.answer(
            self.params,
            prompts,
            samples,
            sampling,
            pictures=pictures + pictures[-1:] * (len(prompts) - len(pictures)),
            prompt_ids=places,
            on_finish=finish_one,
        )

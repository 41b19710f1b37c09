"""The cold start's first stage for a policy without a pretrained tower: tokens learn the words for what they show and
where it is.

Published policies come with a tower that was trained on millions of captioned pictures. A fresh tiny one has nothing,
and language modelling alone is a faint signal to learn to see from. Here three things are taught, each where the next
needs it:

1. The tower: every visual token, compared with the embedding table, must pick the words of the object that its mask
   puts there, so that
   a question's "red ball" finds its token by a dot product.
2. The lowest third of the decoder: the same token must pick the words for its place and distance. The tower's rotary
   positions are
   relative, so only the decoder can know where in the picture a token is.
3. The second third: the words of an object's name, in a text after the picture, must pick the words for that object's
   place and
   distance: looking up a named thing. What the upper third is left to learn from questions is to compare and to answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from spatial_jax.data import ByteCache
from spatial_jax.data.integrity import DatasetError
from spatial_jax.data.scenes import SceneLabels, label_scene, open_scenes, scene_at, scenes_digest
from spatial_jax.models import PromptBatch, VisionArrays
from spatial_jax.ops.shared_prefix import causal_attention
from spatial_jax.training.method import Stream
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import Coefficients
from spatial_jax.training.supervised import Supervised

PAD = -2  # in the words of places that fill a batch up


@struct.dataclass
class AlignBatch:
    """prompts: a picture and a text that names its objects, each; words int32 [visual tokens, w]: the words of what
    stands there, -1 where there is none, PAD beyond the pictures' tokens; places int32 [visual tokens, 3]: the words
    for where and how far, -1 for none; name_at int32 [b, k]: where in the padded prompt the tokens of names are, -1
    for none; name_places int32 [b, k, 3].
    """

    prompts: PromptBatch
    words: Any
    places: Any
    name_at: Any
    name_places: Any


@dataclasses.dataclass(frozen=True)
class _Named:
    name: str
    size: int

    def __len__(self) -> int:
        return self.size


class SceneStream:
    """Endless labelled pictures, every epoch in a new order; its whole state is the number drawn. With
    config.data.weights an epoch, which is as long, has each dataset's share of pictures. ValueError of settings that
    only questions have.
    """

    def __init__(self, setup: Setup):
        data = setup.run.data
        if data.families:
            raise ValueError("config.data.families: alignment takes scenes, which have no families; leave it empty")
        self._shares = np.array(data.weights, np.float64)
        if data.weights and not self._shares.sum():
            raise ValueError(f"config.data.weights = {data.weights}: give one number >= 0 for each dataset, not all 0")
        self._directories, self._split = data.paths, data.split
        scenes = [open_scenes(directory, data.split) for directory in data.paths]
        for directory, scene in zip(data.paths, scenes):
            if not len(scene):
                raise DatasetError(f"{directory}: no picture in its split {data.split!r}")
        self.sources = [_Named(Path(directory).name, len(scene)) for directory, scene in zip(data.paths, scenes)]
        self._scenes, self._processor, self._seed, self.drawn = scenes, setup.processor, data.seed, 0
        self._epoch, self._order = -1, list[tuple[int, int]]()
        self._cache = ByteCache(data.cache_mib << 20)

    def take(self, count: int) -> list[SceneLabels]:
        """The next pictures."""
        length, out = sum(map(len, self.sources)), []
        for _ in range(count):
            epoch, place = divmod(self.drawn, length)
            if epoch != self._epoch:
                self._epoch, self._order = epoch, self._epoch_order(epoch, length)
            out.append(self._label(*self._order[place]))
            self.drawn += 1
        return out

    def _epoch_order(self, epoch: int, length: int) -> list[tuple[int, int]]:
        """(dataset, picture) of an epoch: every picture once; with weights of each dataset as many as its share, all of
        its pictures before any comes again.
        """
        rng = np.random.default_rng([self._seed, epoch])
        sizes = [len(source) for source in self.sources]
        if self._shares.any():
            ends = np.round(np.cumsum(self._shares) / self._shares.sum() * length).astype(int)
            counts = np.diff(ends, prepend=0)
            picked = [
                (s, int(i))
                for s, (size, count) in enumerate(zip(sizes, counts))
                for turn in range(-(-count // size))
                for i in rng.permutation(size)[: count - turn * size]
            ]
        else:
            picked = [(s, i) for s, size in enumerate(sizes) for i in range(size)]
        return [picked[k] for k in rng.permutation(length)]

    def _label(self, source: int, index: int) -> SceneLabels:
        found = self._cache.get((source, index))
        if found is None:
            rng = np.random.default_rng([self._seed, source, index])
            found = label_scene(scene_at(self._scenes[source], index), self._processor, rng)
            self._cache.put((source, index), found, found.nbytes)
        return found

    @property
    def digests(self) -> list[str]:
        """Of the datasets' contents, in order."""
        return [scenes_digest(directory, self._split) for directory in self._directories]

    def get_state(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def set_state(self, state: dict[str, Any], *, changed: bool = False) -> None:
        """Goes on where `get_state` was taken; with `changed` data, after as many pictures."""
        self.drawn = int(state["drawn"])

    def close(self) -> None:
        self._cache = ByteCache(0)


class Align(Supervised):
    """Cross-entropy of the words that are true of a token, at the three heights that the module's text names; where
    nothing stands, the tower's token must pick the padding token.
    """

    asks = False  # it has pictures, not questions
    planned = False
    encodes = False  # it trains the merger

    def __init__(self, setup: Setup):
        self.setup, self.run = setup, setup.run

    def stream(self) -> Stream:
        return SceneStream(self.setup)

    def loss(self, model: Any, batch: AlignBatch, coefficients: Coefficients) -> dict[str, jax.Array]:
        """Summed over tokens; `right`: named visual tokens whose best word is one of theirs, of `named`."""
        features = model.encode_vision(batch.prompts.vision, self.run.model.remat)
        count, head, rows = batch.words.shape[0], model.head(), batch.prompts.feature_index.reshape(-1)
        named, real = jnp.any(batch.words >= 0, -1), batch.words[:, 0] != PAD
        seen = _unit(features.features[:count], -1) @ _unit(head, 0) / features.features.shape[-1] ** 0.5
        low, middle = (decode_part(model, batch.prompts, features, self.run.model.remat, thirds) for thirds in (1, 2))
        visual = jnp.argsort(jnp.where(rows >= 0, rows, rows.size))[
            :count
        ]  # tokens of the pictures, in the pictures' order
        names = jnp.take_along_axis(middle, jnp.maximum(batch.name_at, 0)[..., None], 1)
        seen, place, name = (
            jax.nn.log_softmax(x.astype(jnp.float32))
            for x in (seen, low.reshape(-1, low.shape[-1])[visual] @ head, names @ head)
        )
        background = -jnp.sum(jnp.where(real & ~named, seen[:, self.setup.processor.pad_id], 0.0))
        parts = {
            "words": _nll_of(seen, batch.words),
            "places": _nll_of(place, batch.places),
            "names": _nll_of(name, batch.name_places),
        }
        right = jnp.any((jnp.argmax(seen, -1)[:, None] == batch.words) & (batch.words >= 0), -1)
        return {
            "loss": parts["words"] + 0.3 * background + 0.5 * parts["places"] + 2.0 * parts["names"],
            **parts,
            "named": jnp.sum(named * 1.0),
            "right": jnp.sum(right * 1.0),
        }

    def minibatches(self, questions: Sequence[SceneLabels]) -> list[tuple[list[AlignBatch], float]]:
        """(micro-batches, visual tokens) of each optimizer step."""
        train, out = self.run.train, []
        for start in range(0, len(questions), train.update_prompts):
            part = questions[start : start + train.update_prompts]
            cuts = [part[at : at + train.micro_prompts] for at in range(0, len(part), train.micro_prompts)]
            out.append(([self._batch(cut) for cut in cuts], float(sum(len(s.words) for s in part))))
        return out

    def _batch(self, cut: Sequence[SceneLabels]) -> AlignBatch:
        prompts = self.setup.buckets.prompts([self.setup.processor.normalise(q.prompt) for q in cut])
        width = prompts.tokens.shape[1]
        at = np.stack(
            [np.where(q.name_at >= 0, q.name_at + width - len(q.prompt), -1) for q in cut]
        )  # prompts are padded on the left
        # As many rows as the tower's padded patches make tokens: pictures of several sizes share a compiled program.
        words, places = (np.concatenate([getattr(q, name) for q in cut]) for name in ("words", "places"))
        assert isinstance(prompts.vision, VisionArrays)
        rows = prompts.vision.patches.shape[0] // self.setup.processor.config.vision.spatial_merge_size**2
        short = ((0, rows - len(words)), (0, 0))
        return AlignBatch(
            prompts,
            np.pad(words, short, constant_values=PAD),
            np.pad(places, short, constant_values=-1),
            at,
            np.stack([q.name_places for q in cut]),
        )

    def metrics(self, questions: Sequence[SceneLabels], sums: dict[str, Any]) -> dict[str, float]:
        """Loss a visual token, the share of named tokens that name themselves rightly, and the mean negative
        log-likelihood of each word for a place: of visual tokens and of names (three words share a name's probability:
        a perfect policy has log 3 = 1.10).
        """
        words, names = (
            sum(int(np.sum(getattr(q, name) >= 0)) for q in questions) for name in ("places", "name_places")
        )
        return {
            "loss": float(sums["loss"]) / sum(len(q.words) for q in questions),
            "align/named": float(sums["right"]) / max(float(sums["named"]), 1.0),
            "align/place_nll": float(sums["places"]) / max(words, 1),
            "align/name_nll": float(sums["names"]) / max(names, 1),
        }


def decode_part(model: Any, prompts: PromptBatch, features: Any, remat: str, thirds: int) -> jax.Array:
    """Hidden states [b, p, d] after so many thirds of the decoder's layers and the final norm."""

    def attend(q, k, v, cache):
        return causal_attention(q, k, v, prompts.valid), cache

    rows = prompts.feature_index
    return model.run_layers(
        model.embed(prompts.tokens, rows, features),
        prompts.positions,
        attend,
        None,
        model.deepstack(rows, features),
        remat,
        layers=model.config.text.num_layers * thirds // 3,
    )[0]


def _nll_of(logp: jax.Array, ids: jax.Array) -> jax.Array:
    """Summed negative log-probability of `ids` [n, k] (-1: none) in logp [n, v]."""
    return -jnp.sum(jnp.where(ids >= 0, jnp.take_along_axis(logp, jnp.maximum(ids, 0), -1), 0.0))


def _unit(x: jax.Array, axis: int) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x.astype(jnp.float32)), axis=axis, keepdims=True) + 1e-6).astype(
        x.dtype
    )

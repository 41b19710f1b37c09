"""The cold start's first stage for a policy without a pretrained tower: visual tokens learn the words for what they show.

Published policies come with a tower that was trained on millions of captioned pictures. A fresh tiny one has nothing, and language
modelling alone is a faint signal to learn to see from. Here every visual token, compared with the embedding table, must pick the
words of the object that its mask puts there, so that a question's "red ball" finds its token by a dot product.
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

from spatial_jax.data.cache import ByteCache
from spatial_jax.data.scenes import TokenLabels, label_tokens, open_scenes, scene_at
from spatial_jax.models.batch import PromptBatch
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import Coefficients


@struct.dataclass
class AlignBatch:
    """prompts: pictures alone; words int32 [visual tokens, w]: the words of what stands there, -1 where there is none."""

    prompts: PromptBatch
    words: Any


@dataclasses.dataclass(frozen=True)
class _Named:
    name: str
    size: int

    def __len__(self) -> int:
        return self.size


class SceneStream:
    """Endless labelled pictures, every epoch in a new order; its whole state is the number drawn."""

    def __init__(self, setup: Setup):
        data = setup.run.data
        scenes = [open_scenes(directory, data.split) for directory in data.paths]
        self.sources = [_Named(Path(directory).name, len(scene)) for directory, scene in zip(data.paths, scenes)]
        self._scenes, self._processor, self._seed, self.drawn = scenes, setup.processor, data.seed, 0
        self._places = [(s, i) for s, source in enumerate(scenes) for i in range(len(source))]
        self._epoch, self._order = -1, np.zeros(0, np.int64)
        self._cache = ByteCache(data.cache_mib << 20)

    def take(self, count: int) -> list[TokenLabels]:
        """The next pictures."""
        out = []
        for _ in range(count):
            epoch, place = divmod(self.drawn, len(self._places))
            if epoch != self._epoch:
                self._epoch, self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._places))
            out.append(self._label(*self._places[self._order[place]]))
            self.drawn += 1
        return out

    def _label(self, source: int, index: int) -> TokenLabels:
        found = self._cache.get((source, index))
        if found is None:
            found = label_tokens(scene_at(self._scenes[source], index), self._processor)
            self._cache.put((source, index), found, found.prompt.nbytes + found.words.nbytes)
        return found

    def get_state(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def set_state(self, state: dict[str, Any]) -> None:
        self.drawn = int(state["drawn"])

    def close(self) -> None:
        self._cache = ByteCache(0)


class Align:
    """Each visual token, scaled to unit root mean square, against the likewise scaled embedding table: cross-entropy of its words, and of
    the padding token where nothing stands."""

    def __init__(self, setup: Setup):
        self.setup, self.run = setup, setup.run

    def loss(self, model: Any, batch: AlignBatch, coefficients: Coefficients) -> dict[str, jax.Array]:
        """Summed over tokens, so that words and background weigh alike a token; `right`: named tokens whose best word is one of theirs."""
        features = model.encode_vision(batch.prompts.vision, self.run.model.remat).features[:batch.words.shape[0]]
        logits = (_unit(features, -1) @ _unit(model.head(), 0)).astype(jnp.float32) / features.shape[-1] ** 0.5
        logp = jax.nn.log_softmax(logits)
        named = batch.words >= 0
        some = jnp.any(named, -1)
        word_loss = -jnp.sum(jnp.where(named, jnp.take_along_axis(logp, jnp.maximum(batch.words, 0), -1), 0.0))
        background = -jnp.sum(jnp.where(some, 0.0, logp[:, self.setup.processor.pad_id]))
        right = jnp.any((jnp.argmax(logp, -1)[:, None] == batch.words) & named, -1)
        return {"loss": word_loss + 0.3 * background, "tokens": jnp.asarray(float(batch.words.shape[0])), "named": jnp.sum(some * 1.0),
                "right": jnp.sum(right * 1.0)}

    def minibatches(self, samples: Sequence[TokenLabels]) -> list[tuple[list[AlignBatch], float]]:
        """(micro-batches, visual tokens) of each optimizer step; all pictures have the size of the dataset."""
        run, out = self.run.run, []
        normalise = self.setup.processor.normalise
        for start in range(0, len(samples), run.update_prompts):
            part = samples[start:start + run.update_prompts]
            cuts = [part[at:at + run.micro_prompts] for at in range(0, len(part), run.micro_prompts)]
            batches = [AlignBatch(self.setup.buckets.prompts([normalise(s.prompt) for s in cut]), np.concatenate([s.words for s in cut])) for cut in cuts]
            out.append((batches, float(sum(len(s.words) for s in part))))
        return out

    def metrics(self, samples: Sequence[TokenLabels], sums: dict[str, Any]) -> dict[str, float]:
        """Loss a visual token, and the share of named tokens that name themselves rightly."""
        return {"loss": float(sums["loss"]) / float(sums["tokens"]), "accuracy": float(sums["right"]) / max(float(sums["named"]), 1.0)}


def _unit(x: jax.Array, axis: int) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x.astype(jnp.float32)), axis=axis, keepdims=True) + 1e-6).astype(x.dtype)

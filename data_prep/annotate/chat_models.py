"""Multimodal chat models behind one call: any OpenAI-compatible endpoint, or a local checkpoint through
transformers.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from typing import Any, Protocol

import numpy as np
from PIL import Image

from data_prep.annotate.weights import ModelError, ModelSettings, from_pretrained, identity, processor_from
from spatial_jax.endpoints import ChatEndpoint, ask_again


class ChatError(Exception):
    """The model could not be asked; the message is one line."""


class ChatModel(Protocol):
    """Text from one instruction and some pictures uint8 [h, w, 3]; greedy. `concurrency`: calls that may run at the
    same time.
    """

    name: str
    concurrency: int

    def config(self) -> dict[str, Any]: ...

    def ask(self, system: str, text: str, pictures: list[np.ndarray]) -> str:
        """Raises ChatError."""
        ...


@dataclasses.dataclass
class EndpointSettings:
    """`url` up to and with /v1; `model` as the server calls it; the key, if one is needed, is in the environment
    variable `key_variable`. `timeout_s` bounds one call as a whole; `tries` calls are made before it counts as failed,
    with growing pauses from `pause_s`.
    """

    url: str = ""
    model: str = ""
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 60.0
    tries: int = 3
    pause_s: float = 1.0
    concurrency: int = 8
    max_tokens: int = 256
    long_side: int = 1024


def _jpeg(picture: np.ndarray, long_side: int) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


class Endpoint:
    """POST /v1/chat/completions of vLLM, SGLang, llama.cpp, OpenAI and the like."""

    def __init__(self, settings: EndpointSettings):
        self.settings, self.concurrency = settings, max(1, settings.concurrency)
        if not settings.model:
            raise ModelError("captions: the endpoint wants to know its model: --set=captions.model=NAME")
        try:
            self._client = ChatEndpoint(settings.url, settings.model, settings.key_variable, "captions")
        except ValueError as error:
            raise ModelError(str(error)) from None
        self.name = f"{settings.model} at {settings.url}"

    def config(self) -> dict[str, Any]:
        return identity("openai_endpoint", self.settings)

    def ask(self, system: str, text: str, pictures: list[np.ndarray]) -> str:
        s = self.settings
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": _jpeg(p, s.long_side)}} for p in pictures
        ]
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": [*parts, {"type": "text", "text": text}]},
        ]
        problem = "not asked"
        for reply in ask_again(
            self._client,
            messages,
            tries=s.tries,
            pause=s.pause_s,
            seconds=s.timeout_s,
            max_tokens=s.max_tokens,
            seed=0,
        ):
            if isinstance(reply, str):
                return reply
            problem = str(reply)
        raise ChatError(f"endpoint failed: {problem}")


@dataclasses.dataclass
class LocalChatSettings(ModelSettings):
    """A checkpoint that AutoModelForImageTextToText loads, with its processor's files beside it."""

    max_tokens: int = 256
    long_side: int = 1024


class LocalChat:
    """Greedy answers of a local vision-language model."""

    concurrency = 1

    def __init__(self, settings: LocalChatSettings):
        self.settings, self.name = settings, f"local {settings.weights}"

    def config(self) -> dict[str, Any]:
        return identity("transformers_chat", self.settings)

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any]:
        model, folder = from_pretrained("AutoModelForImageTextToText", self.settings, "captions")
        return model, processor_from("AutoProcessor", folder, "captions")

    def ask(self, system: str, text: str, pictures: list[np.ndarray]) -> str:
        import torch

        model, processor = self.loaded
        images = [Image.fromarray(p) for p in pictures]
        for image in images:
            image.thumbnail((self.settings.long_side,) * 2, Image.Resampling.LANCZOS)
        content = [*({"type": "image", "image": i} for i in images), {"type": "text", "text": text}]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": system}]},
            {"role": "user", "content": content},
        ]
        try:
            inputs = processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
            inputs = {
                k: v.to(self.settings.device, model.dtype) if v.is_floating_point() else v.to(self.settings.device)
                for k, v in inputs.items()
            }
            with torch.inference_mode():
                tokens = model.generate(**inputs, max_new_tokens=self.settings.max_tokens, do_sample=False)
        except torch.OutOfMemoryError:
            raise ChatError("does not fit into the device's memory") from None
        return processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]

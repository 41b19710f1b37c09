"""Chat messages with pictures and videos to what the model takes: token ids, packed patches, M-RoPE positions. NumPy
and PIL only.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.models import ModelConfig, checkpoint_directory, row_positions
from spatial_jax.models.configs import DEFAULT_POSITION_RULE
from spatial_jax.models.end_ids import end_ids, pad_id
from spatial_jax.models.positions import IMAGE, VIDEO
from spatial_jax.processing.image import ImageSettings, image_patches, image_size, load_image, normalise
from spatial_jax.processing.prompt import EncodedPrompt, Prepared
from spatial_jax.processing.settings import read_image_settings, read_model_config, read_video_settings, with_limits
from spatial_jax.processing.tokenizer import ChatTokenizer
from spatial_jax.processing.video import (
    Video,
    VideoSettings,
    as_video,
    frame_size,
    sample_video,
    seconds_per_grid,
    timestamps,
    video_patches,
    with_frames,
)

IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
_PAD = re.compile(re.escape(IMAGE_PAD) + "|" + re.escape(VIDEO_PAD))


class Processor:
    """A checkpoint's tokenizer, chat template and picture preprocessing.

    `processor(messages, images, videos)` gives the arrays transformers' processor gives; `processor.encode(...)` gives
    an EncodedPrompt. Pictures are paths, encoded bytes, PIL images, uint8 arrays or `Prepared` ones; videos are paths,
    folders of pictures, lists of pictures, arrays [f, h, w, 3] or `Video`s. Files of a video are sampled at the
    checkpoint's frame rate, a list of pictures is shown whole, arrays and Videos that state a rate follow the
    checkpoint's do_sample_frames. `eos_ids` stop an answer; a target ends with the first of them, as the chat template
    ends an assistant's turn.
    """

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        config: ModelConfig,
        image: ImageSettings,
        video: VideoSettings,
        *,
        eos_ids: tuple[int, ...],
        pad_id: int,
    ):
        if (video.image.mean, video.image.std, video.image.factor) != (image.mean, image.std, image.factor):
            raise ValueError(
                "the checkpoint normalises or cuts videos otherwise than pictures, which no Qwen-VL does; check its"
                " preprocessor files"
            )
        self.tokenizer, self.config = tokenizer, config
        self.image_settings, self.video_settings = image, video
        self.eos_ids, self.pad_id = eos_ids, pad_id
        self.keyed = False  # whether prompts carry the keys of their pictures
        vision = [tokenizer.token_id(t) for t in (VISION_START, VISION_END, "<|vision_pad|>", IMAGE_PAD, VIDEO_PAD)]
        unused = range(len(tokenizer), config.text.vocab_size)
        self.banned_ids: tuple[int, ...] = tuple(sorted({i for i in vision if i is not None} | set(unused)))

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        *,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        position_rule: str = DEFAULT_POSITION_RULE,
        video_min_pixels: int | None = None,
        video_max_pixels: int | None = None,
        frames: int | None = None,
        fps: float | None = None,
    ) -> Processor:
        """Reads a checkpoint folder, or downloads a hub name. The limits (areas in pixels; a clip's volume for Qwen3-VL
        videos) and the choice of a clip's frames (`with_frames`) replace the checkpoint's. Raises FileNotFoundError or
        ValueError naming the file.
        """
        path = checkpoint_directory(directory)
        tokenizer = ChatTokenizer.from_pretrained(path)
        config = read_model_config(path, tokenizer, position_rule)
        image = with_limits(read_image_settings(path, config.traits.pictures), min_pixels, max_pixels)
        video = read_video_settings(path, config.traits.pictures)
        video = dataclasses.replace(video, image=with_limits(video.image, video_min_pixels, video_max_pixels))
        video = with_frames(video, frames, fps)
        eos_ids = end_ids(path, config, tokenizer.token_id, tokenizer.closing_id())
        for text, index in ((IMAGE_PAD, config.image_token_id), (VIDEO_PAD, config.video_token_id)):
            if tokenizer.token_id(text) != index:
                raise ValueError(
                    f"{path}: config.json says {text} is id {index}, the tokenizer says {tokenizer.token_id(text)}; "
                    "the files are of different checkpoints"
                )
        return cls(tokenizer, config, image, video, eos_ids=eos_ids, pad_id=pad_id(path, config, tokenizer.token_id))

    def model_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which the model sees a picture of the given size. Raises ImageError."""
        return image_size(self.image_settings, width, height)

    def video_size(self, frames: int, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which the model sees the frames of a clip of `frames` frames. Raises ImageError."""
        new_height, new_width = frame_size(frames, height, width, self.video_settings)
        return new_width, new_height

    def prepare_image(self, source: Any, name: str = "picture") -> Prepared:
        """Decodes, resizes and cuts a picture once; `encode` takes the result in place of the picture. Raises
        ImageError.
        """
        if isinstance(source, Prepared):
            return source
        patches, grid = image_patches(load_image(source, name), self.image_settings)
        return Prepared(IMAGE, patches, grid, self._pixels(grid))

    def prepare_video(self, source: Any, name: str = "video") -> Prepared:
        """Like `prepare_image`, for a video: chooses frames as the class says. Raises ImageError."""
        if isinstance(source, Prepared):
            return source
        settings = self.video_settings
        video = as_video(source, name, settings=settings)  # of a file only the frames that are shown
        from_file = isinstance(source, (str, Path)) and not Path(source).is_dir()
        states_rate = isinstance(source, np.ndarray) or (video.fps is not None and video.indices is None)
        if settings.sample and states_rate and not from_file:
            video = sample_video(video, settings)
        patches, grid = video_patches(video, settings, name)
        return Prepared(
            VIDEO,
            patches,
            grid,
            self._pixels(grid),
            seconds_per_grid(video, settings),
            tuple(timestamps(video, settings)),
        )

    def measure(
        self,
        messages: Sequence[dict[str, Any]],
        image_sizes: Sequence[tuple[int, int]] = (),
        videos: Sequence[tuple[Video, tuple[int, int]]] = (),
        *,
        add_generation_prompt: bool = True,
    ) -> tuple[int, int]:
        """(tokens, patches) that `encode` would give, from sizes (width, height) alone, no picture decoded; a video is
        a `Video` of which only the number of frames and the rate are read, with its frames' size. Raises ValueError as
        `encode` does.
        """
        nothing, side = np.empty((0, 0), np.uint8), self.image_settings.patch_size
        blank = []
        for width, height in image_sizes:
            new_width, new_height = self.model_size(width, height)
            blank.append(Prepared(IMAGE, nothing, (1, new_height // side, new_width // side), (new_width, new_height)))
        clips = []
        for video, (width, height) in videos:
            new_width, new_height = self.video_size(len(video), width, height)
            steps = -(-len(video) // self.video_settings.image.temporal_patch_size)
            clips.append(
                Prepared(
                    VIDEO,
                    nothing,
                    (steps, new_height // side, new_width // side),
                    (new_width, new_height),
                    stamps=tuple(timestamps(video, self.video_settings)),
                )
            )
        ids, visions = self._tokens(self.tokenizer.apply_chat_template(messages, add_generation_prompt), blank, clips)
        patches = sum(int(np.prod(v.grid)) for v in visions)
        _, counts = self._pads(ids, visions)
        return len(ids) - len(counts) + sum(counts), patches

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Text of token ids."""
        return self.tokenizer.decode(ids, skip_special_tokens)

    def encode(
        self,
        messages: Sequence[dict[str, Any]],
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        *,
        add_generation_prompt: bool = True,
        normalise: bool = True,
    ) -> EncodedPrompt:
        """One conversation as an EncodedPrompt. Pictures may also stand in the messages ({"type": "image", "image":
        ...}).

        With normalise=False the pixels stay uint8, a quarter of the memory, until `self.normalise`. Raises ValueError
        (ImageError for a picture) when pictures and marks do not match or a picture cannot be used.
        """
        images, videos = _inline(messages, images, "image"), _inline(messages, videos, "video")
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt)
        return self.encode_text(text, images, videos, normalise=normalise)

    def encode_text(
        self,
        text: str,
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        *,
        start: int = 0,
        normalise: bool = True,
    ) -> EncodedPrompt:
        """Like `encode`, for text that is rendered already (one pad token a picture or video); positions begin at
        `start`, so that a later turn of a conversation continues its earlier tokens without tokenising them again.
        """
        ids, visions = self._tokens(text, images, videos)
        return self._prompt(ids, visions, start, normalise)

    def normalise(self, prompt: EncodedPrompt) -> EncodedPrompt:
        """The prompt with float32 pixel values; itself when they are already."""
        if prompt.pixel_values is None or prompt.pixel_values.dtype != np.uint8:
            return prompt
        return dataclasses.replace(prompt, pixel_values=normalise(prompt.pixel_values, self.image_settings))

    def __call__(
        self,
        messages: Sequence[Any],
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        add_generation_prompt: bool = True,
        *,
        padding_side: str = "left",
    ) -> dict[str, np.ndarray]:
        """The arrays of transformers' processor for one conversation, or for a list of conversations (padded, pictures
        in their order).

        input_ids, attention_mask, mm_token_type_ids int64 [b, s]; pixel_values float32 [n, k] and image_grid_thw int64
        [m, 3] when there are pictures; pixel_values_videos, video_grid_thw and, for Qwen2.5-VL, second_per_grid_ts [m]
        when there are videos.
        """
        conversations = list(messages) if messages and not isinstance(messages[0], dict) else [messages]
        images = _inline([m for c in conversations for m in c], images, "image")
        videos = _inline([m for c in conversations for m in c], videos, "video")
        rows, found, at_image, at_video = [], [], 0, 0
        for number, conversation in enumerate(conversations):
            text = self.tokenizer.apply_chat_template(conversation, add_generation_prompt)
            last = number == len(conversations) - 1
            end_image = len(images) if last else at_image + text.count(IMAGE_PAD)
            end_video = len(videos) if last else at_video + text.count(VIDEO_PAD)
            ids, visions = self._tokens(text, images[at_image:end_image], videos[at_video:end_video])
            rows.append(self._expand(ids, visions))
            found += visions
            at_image, at_video = end_image, end_video
        return self._arrays(rows, found, padding_side)

    # From here on: the parts of encode() and __call__().

    def _tokens(self, text: str, images: Sequence[Any], videos: Sequence[Any]) -> tuple[np.ndarray, list[Prepared]]:
        """Token ids with one pad a picture (or video time step, Qwen3-VL), and the pictures in token order."""
        for pad, given, what in ((IMAGE_PAD, images, "picture"), (VIDEO_PAD, videos, "video")):
            if text.count(pad) != len(given):
                raise ValueError(
                    f"the messages show {text.count(pad)} {what}(s) but {len(given)} were given; add or remove "
                    f'{{"type": "{"image" if what == "picture" else "video"}"}} parts, and keep {pad} out of texts'
                )
        of_images = (self.prepare_image(image, f"picture {i + 1}") for i, image in enumerate(images))
        of_videos = (self.prepare_video(video, f"video {i + 1}") for i, video in enumerate(videos))
        visions = [next(of_images) if pad == IMAGE_PAD else next(of_videos) for pad in _PAD.findall(text)]
        if videos and self.config.traits.timed_steps:
            text = self._with_timestamps(text, [v for v in visions if v.kind == VIDEO])
        return np.asarray(self.tokenizer.encode(text), np.int32), visions

    def _with_timestamps(self, text: str, videos: list[Prepared]) -> str:
        """Qwen3-VL: each time step under its own marks after its time. The template's outer marks are dropped as in
        training (transformers 4.57); transformers 5.23 keeps them, and so does the rule "hf5".
        """
        outer = VIDEO_PAD if self.config.position_rule == "hf5" else VISION_START + VIDEO_PAD + VISION_END
        if outer not in text:
            outer = VIDEO_PAD
        pieces = text.split(outer)
        steps = [
            "".join(f"<{t:.1f} seconds>{VISION_START}{VIDEO_PAD}{VISION_END}" for t in video.stamps) for video in videos
        ]
        return pieces[0] + "".join(step + piece for step, piece in zip(steps, pieces[1:]))

    def _pixels(self, grid: tuple[int, int, int]) -> tuple[int, int]:
        """(width, height) in pixels of a grid in patches."""
        return grid[2] * self.image_settings.patch_size, grid[1] * self.image_settings.patch_size

    def _expand(self, ids: np.ndarray, visions: list[Prepared]) -> tuple[np.ndarray, np.ndarray]:
        """(ids, type ids) with every pad repeated to the number of its tokens."""
        pads, counts = self._pads(ids, visions)
        repeats = np.ones(len(ids), np.int64)
        repeats[pads] = counts
        ids = np.repeat(ids, repeats)
        types = (ids == self.config.image_token_id) * np.uint8(IMAGE) + (ids == self.config.video_token_id) * np.uint8(
            VIDEO
        )
        return ids, types.astype(np.uint8)

    def _pads(self, ids: np.ndarray, visions: list[Prepared]) -> tuple[np.ndarray, list[int]]:
        """(places of the pads, the number of tokens of each)."""
        pads = np.flatnonzero((ids == self.config.image_token_id) | (ids == self.config.video_token_id))
        unit, split = self.config.vision.merge_unit, self.config.traits.timed_steps
        counts: list[int] = []
        for v in visions:
            t, h, w = v.grid
            counts += [h * w // unit] * t if v.kind == VIDEO and split else [t * h * w // unit]
        if len(counts) != len(pads):
            raise ValueError(
                f"the text has {len(pads)} vision pads where {len(counts)} belong; keep {IMAGE_PAD} and {VIDEO_PAD} out"
                " of texts"
            )
        return pads, counts

    def _prompt(self, ids: np.ndarray, visions: list[Prepared], start: int, normalised: bool) -> EncodedPrompt:
        ids, types = self._expand(ids, visions)
        positions, following = row_positions(
            types, [v.grid for v in visions], self.config, [v.seconds for v in visions if v.kind == VIDEO]
        )
        patches = None
        if visions:
            patches = visions[0].patches if len(visions) == 1 else np.concatenate([v.patches for v in visions])
            patches = normalise(patches, self.image_settings) if normalised else patches
        grids = np.asarray([v.grid for v in visions], np.int32).reshape(-1, 3)
        return EncodedPrompt(
            ids,
            positions + np.int32(start),
            following + start,
            types,
            patches,
            grids,
            [v.size for v in visions],
            tuple(v.key for v in visions) if self.keyed else (),
        )

    def _arrays(
        self, rows: list[tuple[np.ndarray, np.ndarray]], visions: list[Prepared], padding_side: str
    ) -> dict[str, np.ndarray]:
        if padding_side not in ("left", "right"):
            raise ValueError(f"padding_side {padding_side!r} is unknown; use left or right")
        longest = max(len(ids) for ids, _ in rows)
        out = {
            name: np.full((len(rows), longest), fill, np.int64)
            for name, fill in (("input_ids", self.pad_id), ("attention_mask", 0), ("mm_token_type_ids", 0))
        }
        for i, (ids, types) in enumerate(rows):
            where = slice(longest - len(ids), longest) if padding_side == "left" else slice(0, len(ids))
            out["input_ids"][i, where], out["attention_mask"][i, where], out["mm_token_type_ids"][i, where] = (
                ids,
                1,
                types,
            )
        for kind, pixels, grids in (
            (IMAGE, "pixel_values", "image_grid_thw"),
            (VIDEO, "pixel_values_videos", "video_grid_thw"),
        ):
            chosen = [v for v in visions if v.kind == kind]
            if chosen:
                settings = self.image_settings if kind == IMAGE else self.video_settings.image
                # Pictures and videos apart, each in the order of its tokens, as transformers' processors give them.
                out[pixels] = normalise(np.concatenate([v.patches for v in chosen]), settings)
                out[grids] = np.asarray([v.grid for v in chosen], np.int64)
        if "video_grid_thw" in out and self.config.traits.seconds_in_positions:
            out["second_per_grid_ts"] = np.asarray([v.seconds for v in visions if v.kind == VIDEO], np.float32)
        return out


def _inline(messages: Sequence[dict[str, Any]], given: Sequence[Any], kind: str) -> list[Any]:
    """The pictures (videos) given apart; where none are, those that stand in the messages."""
    if len(given):
        return list(given)
    parts = [part for message in messages if not isinstance(message["content"], str) for part in message["content"]]
    return [part[kind] for part in parts if isinstance(part, dict) and part.get(kind) is not None]

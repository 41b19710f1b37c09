"""A teacher behind an OpenAI-compatible endpoint: it is asked as a policy of ours is, draws by the same protocol, and
its answers come as the same rows. Every reply is kept in a file, so that none is paid for twice.
"""

from __future__ import annotations

import base64
import collections
import concurrent.futures
import dataclasses
import hashlib
import io
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from spatial_jax.data import PromptStyle, QuestionRecord, build_messages, resolve
from spatial_jax.data.prompts import shows_video
from spatial_jax.drawing import DrawingError, render_entry
from spatial_jax.drawing.environment import replay_with_text
from spatial_jax.drawing.texts import VISION
from spatial_jax.drawing.tool import Size
from spatial_jax.ending import asking_threads
from spatial_jax.endpoints import ChatEndpoint, EndpointError, Reply, ReplyCache, ask_again
from spatial_jax.evals import ResponseLog
from spatial_jax.forms import get_form
from spatial_jax.processing import load_image, smart_resize
from spatial_jax.processing.image import resize
from spatial_jax.processing.user_text import MARK

FACTOR = 28  # sides of a picture as Qwen2.5-VL sees it are multiples of it
_USER, _END = "<|im_start|>user\n", "<|im_end|>"
log = logging.getLogger(__name__)
Messages = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class TeacherSettings:
    """How a teacher is asked. `seconds`: of one request; `tries`: of each, with pauses that double; `threads`: answers
    under way together; `limits`: least and most pixels of a picture; `turns`, `pictures`: of a form that draws.
    """

    endpoint: ChatEndpoint
    style: PromptStyle
    samples: int
    temperature: float = 1.0
    max_tokens: int = 1024
    seed: int = 0
    turns: int = 10
    pictures: int = 45
    limits: tuple[int, int] = (16_384, 351_232)
    seconds: float = 120.0
    tries: int = 4
    pause: float = 1.0
    threads: int = 8
    near: float | None = 0.0
    top_p: float = 1.0

    def fit(self, size: Size) -> Size:
        """(width, height) at which a picture is shown."""
        height, width = smart_resize(size[1], size[0], FACTOR, *self.limits)
        return width, height


class Teacher:
    """Asks the endpoint; `counts` says how many requests were sent, found in the cache, and failed by reason."""

    def __init__(self, settings: TeacherSettings, cache: ReplyCache):
        self.settings, self.cache = settings, cache
        self.counts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def __call__(
        self,
        part: Sequence[tuple[int, QuestionRecord]],
        file: ResponseLog,
        progress: Callable[[int, int], None] | None = None,
    ) -> Mapping[str, Mapping[str, Any]]:
        """Rows of the questions (with their places) that `file` lacks, kept there as they come. ValueError where not
        one of the questions was answered.
        """
        todo = [(place, record) for place, record in part if record.question_id not in file.rows]
        failed = 0
        if progress:
            progress(len(part) - len(todo), len(part))
        with asking_threads(self.settings.threads, "teacher") as pool:
            waiting = {pool.submit(self.row, place, record): record for place, record in todo}
            for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
                row = future.result()
                # A question that the endpoint failed on is asked again by the next run.
                if row["responses"] or not row.pop("again", False):
                    file.add(row)
                else:
                    failed += 1
                if progress:
                    progress(len(part) - len(todo) + done, len(part))
        if failed:
            reasons = "; ".join(f"{n} x {r}" for r, n in self.counts.most_common() if r not in ("sent", "cached"))
            if failed == len(todo):
                raise ValueError(f"the endpoint answered none of {failed} questions ({reasons}); run again to go on")
            log.warning("%d of %d questions got no answer (%s); run again to ask them", failed, len(todo), reasons)
        return file.rows

    def row(self, place: int, record: QuestionRecord) -> dict[str, Any]:
        """The row of one question: its samples one after the other. One that cannot be asked has no responses and says
        why.
        """
        try:
            messages, pictures = self.opening(record)
        except (ValueError, OSError) as error:
            return {"id": record.question_id, "responses": [], "error": str(error)}
        sizes = [picture.size for picture in pictures]
        texts, finish = list[str](), list[str]()
        problem = ""
        for sample in range(self.settings.samples):
            try:
                text, ended = self._talk(place, sample, messages, pictures)
            except EndpointError as error:
                problem = str(error)
                continue
            texts.append(text)
            finish.append(ended)
        row = {"id": record.question_id, "responses": texts, "finish": finish, "model_sizes": [list(s) for s in sizes]}
        return row if texts else {**row, "error": problem, "again": True}

    def opening(self, record: QuestionRecord) -> tuple[Messages, list[Image.Image]]:
        """(the chat messages that ask the question, its pictures as they are shown)."""
        sizes = [self.settings.fit(size) for size in zip(record.widths, record.heights)]
        pictures = [resize(load_image(data), *size) for data, size in zip(record.images, sizes)]
        style, shown = self.settings.style, iter(pictures)
        several = shows_video(record, style.mode)  # a video goes as its frames
        messages = []
        for message in build_messages(resolve(record, sizes), style, sizes):
            content = message["content"]
            if not isinstance(content, str):
                parts = list[dict[str, Any]]()
                for part in content:
                    if part["type"] == "text":
                        parts.append({"type": "text", "text": plain(part["text"])})
                    else:
                        parts += [picture_part(p) for p in (list(shown) if several else [next(shown)])]
                content = parts
            messages.append({"role": message["role"], "content": content})
        return messages, pictures

    def _talk(self, place: int, sample: int, messages: Messages, pictures: list[Image.Image]) -> tuple[str, str]:
        """(one answer, or the whole conversation in chat markup; "stop", or "length" where the endpoint cut the last
        reply off). EndpointError where the endpoint fails.
        """
        settings = self.settings
        form, sizes = get_form(settings.style.mode), [p.size for p in pictures]
        messages, said, parts = list(messages), list[str](), list[str]()
        while True:
            reply = self._reply([settings.seed, place, sample, len(said)], messages)
            if not form.several_turns or not pictures:
                return reply, "length" if reply.cut else "stop"
            said.append(reply)
            if reply.cut:  # what it was about to draw is not known
                return "".join([*parts, reply]), "length"
            parts.append(reply + _END)
            if ("<answer>" in reply and "</answer>" in reply) or len(said) >= settings.turns:
                return "".join(parts), "stop"
            try:
                album, new, text = replay_with_text(
                    said, sizes, settings.turns, settings.pictures, form.tools, settings.fit, settings.near
                )
            except DrawingError:
                return "".join(parts), "stop"
            drawn = [render_entry(pictures[(entry := album.entries[i]).original], entry, album.labels) for i in new]
            parts.append(text.replace(VISION, ""))
            messages += [{"role": "assistant", "content": reply}, shown_message(text, drawn)]

    def _reply(self, place: list[int], messages: Messages) -> Reply:
        """One reply, from the cache where it was given before."""
        settings, endpoint = self.settings, self.settings.endpoint
        narrowed = {"top_p": settings.top_p} if settings.top_p < 1 else {}
        asked = [endpoint.model, settings.temperature, settings.max_tokens, *narrowed.values(), place, messages]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        known = self.cache.get(key)
        if known is not None:
            self._count("cached")
            return known
        seed = int.from_bytes(hashlib.sha256(repr(place).encode()).digest()[:4], "big") >> 1
        options: dict[str, Any] = {"temperature": settings.temperature, "max_tokens": settings.max_tokens, "seed": seed}
        options |= narrowed
        problem = EndpointError("no request was made")
        tries = ask_again(
            endpoint, messages, tries=settings.tries, pause=settings.pause, seconds=settings.seconds, **options
        )
        for reply in tries:
            self._count("sent")
            if isinstance(reply, EndpointError):
                problem = reply
                continue
            reply = Reply(plain(reply), reply.cut)
            self.cache.put(key, reply)
            return reply
        self._count(str(problem))
        raise problem

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def plain(text: str) -> str:
    """The text without marks of the chat that it cannot set by writing them."""
    return text.replace(MARK, "").replace("<|im_start|>", "").replace(_END, "")


def picture_part(picture: Image.Image) -> dict[str, Any]:
    """A picture as a part of a message."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    url = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def shown_message(markup: str, drawn: Sequence[Image.Image]) -> dict[str, Any]:
    """The environment's turn as a user's message: its pictures, each with its number, and what it says."""
    inside = markup.split(_USER, 1)[1].split(_END, 1)[0]
    texts = inside.split(VISION)
    parts = list[dict[str, Any]]()
    for picture, text in zip([None, *drawn], texts):
        if picture is not None:
            parts.append(picture_part(picture))
        if text.strip():
            parts.append({"type": "text", "text": text.strip()})
    return {"role": "user", "content": parts}

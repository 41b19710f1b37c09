"""Language variation by an LLM: questions reworded or made more complex, kept only if nothing that decides the answer
has changed.

The endpoint (OpenAI-compatible chat completions) is untrusted: its text is data, checked by strict rules, and anything
else is thrown away with a counted reason. Replies are cached on disk by (model, instruction, question), so a second run
needs no endpoint and gives the same bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator

from data_prep.synthesis.faithful import unfaithful
from spatial_jax.data.records import QuestionRecord
from spatial_jax.ending import asking_threads
from spatial_jax.endpoints import ChatEndpoint, EndpointError, Reply, ReplyCache

STYLES = {
    "reword": "Rewrite the question in other words.",
    "complicate": (
        "Rewrite the question as a longer, more elaborate sentence, as a curious person might ask it. Add no new fact."
    ),
}
RULES = (
    "Keep every number, every object name, every unit, every option line, everything in curly braces and every <image>"
    " mark exactly as it is, and the objects in the same order. Do not answer it. Do not change what is asked. Reply"
    " with the rewritten question only."
)
PROMPT_VERSION = "1"
MOST_FAILURES = 5  # in a row: then the endpoint is taken to be down


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where to ask. `base_url` like http://host:8000/v1; the key is read from the environment variable `key_env`.
    ValueError for an address that is none, and for a key in the wrong place.
    """

    base_url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    timeout: float = 30.0
    temperature: float = 0.7

    def __post_init__(self) -> None:
        self._client()

    def _client(self) -> ChatEndpoint:
        return ChatEndpoint(self.base_url, self.model, self.key_env, "language")

    def ask(self, style: str, question: str) -> Reply:
        """The model's reply; raises EndpointError."""
        messages = [
            {"role": "system", "content": f"{STYLES[style]} {RULES}"},
            {"role": "user", "content": question},
        ]
        return self._client().complete(messages, seconds=self.timeout, max_tokens=512, temperature=self.temperature)


def reply_key(model: str, style: str, question: str) -> str:
    """The reply's name in the cache."""
    return hashlib.sha256(f"{PROMPT_VERSION}\n{model}\n{style}\n{question}".encode(errors="surrogatepass")).hexdigest()


class Variation:
    """Turns records into reworded ones where the endpoint (or the cache) gives a faithful text, and leaves them as they
    are otherwise.

    `share` of the questions are tried, chosen by hash. `endpoint` None: the cache alone. `reasons` counts why questions
    stayed as they were.
    """

    def __init__(
        self,
        cache: ReplyCache,
        endpoint: Endpoint | None,
        *,
        model: str = "",
        share: float = 0.5,
        seed: int = 0,
        workers: int = 8,
    ):
        self.cache, self.endpoint, self.share, self.seed, self.workers = cache, endpoint, share, seed, workers
        self.model = model or (endpoint.model if endpoint else "")
        self.reasons: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()  # of the endpoint, by reason
        self.changed = 0
        self._failures = 0

    def __call__(self, records: Iterable[QuestionRecord]) -> Iterator[QuestionRecord]:
        """The records in order, some of them reworded."""
        batch: list[QuestionRecord] = []
        for record in records:
            batch.append(record)
            if len(batch) == 16 * self.workers:
                yield from self._batch(batch)
                batch = []
        yield from self._batch(batch)

    def _style(self, record: QuestionRecord) -> str | None:
        draw = int(hashlib.sha256(f"{self.seed}/{record.question_id}".encode()).hexdigest()[:8], 16) / 2**32
        if draw >= self.share:
            return None
        return "reword" if draw < 0.6 * self.share else "complicate"

    def _batch(self, batch: list[QuestionRecord]) -> Iterator[QuestionRecord]:
        styles = [self._style(r) for r in batch]
        todo = {}
        for record, style in zip(batch, styles):
            if style and self.cache.get(key := reply_key(self.model, style, record.question)) is None:
                todo[key] = (style, record.question)
        if todo and self.endpoint and self._failures < MOST_FAILURES:
            with asking_threads(self.workers, "language") as pool:
                for key, reply in zip(todo, pool.map(lambda job: self._ask(*job), todo.values())):
                    if reply is not None:
                        self.cache.put(key, reply)
        for record, style in zip(batch, styles):
            yield self._apply(record, style) if style else record

    def _ask(self, style: str, question: str) -> Reply | None:
        assert self.endpoint is not None
        if self._failures >= MOST_FAILURES:
            return None
        try:
            reply = self.endpoint.ask(style, question)
        except EndpointError as error:
            self._failures += 1
            self.failures[str(error)] += 1
            if self.failures[str(error)] == 1:
                print(f"language endpoint {self.endpoint.base_url}: {error}", flush=True)
            if self._failures == MOST_FAILURES:
                print(
                    f"language endpoint {self.endpoint.base_url} failed {MOST_FAILURES} times in a row"
                    f" ({error}); going on with template wordings",
                    flush=True,
                )
            return None
        self._failures = 0
        return reply

    def _apply(self, record: QuestionRecord, style: str) -> QuestionRecord:
        reply = self.cache.get(reply_key(self.model, style, record.question))
        if reply is None:
            self.reasons["no reply from the endpoint" if self.endpoint else "not in the cache"] += 1
            return record
        text = reply.strip()
        meta = record.json_field("meta")
        problem = (
            "the reply was cut off"
            if reply.cut
            else unfaithful(
                record.question, text, names=meta.get("captions", ()), answer=record.answer, options=record.options
            )
        )
        if problem:
            self.reasons[problem] += 1
            return record
        self.changed += 1
        meta |= {
            "provenance": "llm",
            "language": {"model": self.model, "style": style, "template_question": record.question},
        }
        return dataclasses.replace(record, question=text, meta=json.dumps(meta))

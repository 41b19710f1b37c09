"""The one client of OpenAI-compatible chat completions: for the judge, captions, rewordings.

A server is not trusted: a request has one deadline for everything from the name look-up to the last byte, a reply has a
largest size, redirects are refused (they would carry the key elsewhere), and whatever comes back that is no completion
is one short reason. Keys come from environment variables and are never printed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import logging
import os
import queue
import re
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.reading import parse_object, read_lines

log = logging.getLogger(__name__)
MOST_REPLY_BYTES = 1_000_000
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)

_KEY = re.compile(
    r"\b(?:sk|pk|rk|hf|gsk|nvapi|glpat|gh[opsur]|github_pat|xox[abp]|AKIA|AIza|eyJ|Bearer)[-_ ]?[\w.\-]{12,}"
    r"|(?<![\w/.\-])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{24,}"
)
_USER_INFO = re.compile(r"(?<=//)[^/@\s]*@")
_QUERY = re.compile(r"([?&][^=&\s]*(?:key|token|secret|sig|pass|auth|code)[^=&\s]*=)[^&#\s]+", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class EndpointError(Exception):
    """No completion came; the message is a short reason, none of it the server's words. `again`: asking again may
    help.
    """

    def __init__(self, reason: str, again: bool = True):
        super().__init__(reason)
        self.again = again


def mask_secrets(text: str) -> str:
    """The text with everything that looks like a secret replaced by "***": user and password of an address, keys in
    its query, bearer tokens, keys.
    """
    return _KEY.sub("***", _QUERY.sub(r"\1***", _USER_INFO.sub("***@", text)))


class Reply(str):
    """A reply's text. `cut`: the server stopped it at `max_tokens` (finish_reason "length"), so its end is missing."""

    cut: bool

    def __new__(cls, text: str, cut: bool = False) -> Reply:
        made = super().__new__(cls, text)
        made.cut = cut
        return made


@dataclasses.dataclass(frozen=True)
class ChatEndpoint:
    """Where to ask: `url` up to and with /v1 and the model as the server calls it. The key, if one is needed, is in the
    environment variable `key_variable` ("" for none). Raises ValueError, one line, for an address that is none, or
    where a key was put into a setting. `what` names the use in messages.
    """

    url: str
    model: str
    key_variable: str = ""
    what: str = "endpoint"

    def __post_init__(self) -> None:
        if mask_secrets(self.url) != self.url:
            raise ValueError(
                f"{self.what}: the address {mask_secrets(self.url)!r} holds a password or a key; put it into an"
                " environment variable and give that variable's name"
            )
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"{self.what} endpoint {self.url!r} is no http(s) address: it must start with http:// or https://"
            )
        try:
            parts = urllib.parse.urlsplit(self.url)
            whole = bool(parts.hostname) and parts.port != 0 and self.url.isprintable() and " " not in self.url
        except ValueError:
            whole = False
        if not whole:
            raise ValueError(f"{self.what} endpoint {self.url!r} is no address, e.g. http://localhost:8000/v1")
        if mask_secrets(self.model) != self.model:
            raise ValueError(
                f"{self.what}: the model's name looks like a key ({mask_secrets(self.model)}); name the model"
            )
        variable = self.key_variable
        named = not variable or (_VARIABLE.fullmatch(variable) and mask_secrets(variable) == variable)
        if not named and variable not in os.environ:
            raise ValueError(
                f"{self.what}: the key's setting takes the name of an environment variable (OPENAI_API_KEY), not the"
                " key itself"
            )

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        seconds: float,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
        top_p: float = 1.0,
    ) -> Reply:
        """The reply's text, within `seconds` in all. Raises EndpointError."""
        body: dict[str, Any] = {
            "model": self.model,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "messages": list(messages),
        }
        if seed is not None:
            body["seed"] = seed
        if top_p < 1:
            body["top_p"] = top_p
        parts = urllib.parse.urlsplit(self.url)
        url = urllib.parse.urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/chat/completions"))
        status, data = _post(url, json.dumps(body).encode(), self._headers(), seconds)
        if 300 <= status < 400:
            raise EndpointError(f"HTTP {status}, a redirect, which is not followed; give the final address", False)
        if not 200 <= status < 300:
            raise EndpointError(f"HTTP {status}", status in _AGAIN)
        return _reply(data)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "spatial_jax"}
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if key and not (key.isascii() and key.isprintable()):
            raise EndpointError(f"the key in {self.key_variable} holds characters that a header cannot carry", False)
        return headers | ({"Authorization": f"Bearer {key}"} if key else {})


def ask_again(
    endpoint: ChatEndpoint,
    messages: Sequence[Mapping[str, Any]],
    *,
    tries: int,
    pause: float,
    seconds: float,
    within: float | None = None,
    **options: Any,
) -> Iterator[Reply | EndpointError]:
    """At most `tries` replies or failures, one after the other, with pauses that double; the caller stops at the first
    that it can use. `seconds`: of one request; `within`: of all together. A failure that asking again cannot mend is
    the last.
    """
    until = None if within is None else time.monotonic() + within

    def left(wanted: float) -> float:
        return wanted if until is None else min(wanted, until - time.monotonic())

    for attempt in range(max(1, tries)):
        if attempt:
            time.sleep(max(0.0, left(pause * 2 ** (attempt - 1))))
        if left(seconds) <= 0:
            return
        try:
            yield endpoint.complete(messages, seconds=left(seconds), **options)
        except EndpointError as error:
            yield error
            if not error.again:
                return


def _reply(data: bytes) -> Reply:
    """What a chat completion says. Raises EndpointError for anything else, however it is broken."""
    try:
        choice = parse_object(data)["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise EndpointError("not a chat completion") from None
    if not isinstance(text, str):
        raise EndpointError("a chat completion without text")
    return Reply(text, choice.get("finish_reason") == "length")


class _Line:
    """The connection of one request, which another thread may cut: a socket's own timeout starts again with every byte
    that a server drips.
    """

    def __init__(self) -> None:
        self._lock, self._cut = threading.Lock(), False
        self._socket: socket.socket | None = None

    def connect(self, address: Any, timeout: Any = None, source: Any = None) -> socket.socket:
        made = socket.create_connection(address, timeout, source)
        with self._lock:
            if self._cut:
                made.close()
                raise TimeoutError
            self._socket = made.dup()  # TLS takes the socket itself away
        return made

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                self._socket.close()


class _Plain(urllib.request.HTTPHandler):
    line: _Line

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_connection(http.client.HTTPConnection, self.line), request)


class _Secure(urllib.request.HTTPSHandler):
    line: _Line

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_connection(http.client.HTTPSConnection, self.line), request)


def _connection(kind: Any, line: _Line) -> Any:
    """A connection of http.client whose socket `line` can cut."""

    def make(host: str, **options: Any) -> Any:
        connection = kind(host, **options)
        connection._create_connection = line.connect
        return connection

    return make


def _post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> tuple[int, bytes]:
    """(status, reply) within `seconds`, all of name look-up, connection, headers and body; through the proxy that the
    environment names, without redirects. Raises EndpointError. The exchange runs in a thread of its own that never
    keeps the process alive.
    """
    line, done = _Line(), queue.SimpleQueue[Any]()

    def work() -> None:
        try:
            done.put(_exchange(url, body, headers, seconds, line))
        except Exception as error:
            done.put(error)

    try:
        threading.Thread(target=work, daemon=True, name="endpoint").start()
        found = done.get(timeout=max(seconds, 0.0))
    except queue.Empty:
        raise EndpointError(f"no answer within {seconds:.3g} s") from None
    except RuntimeError:
        raise EndpointError("no thread could be started") from None
    finally:
        line.cut()
    if isinstance(found, EndpointError):
        raise found
    if isinstance(found, Exception):
        reason = getattr(found, "reason", found)
        if isinstance(reason, TimeoutError):
            raise EndpointError(f"no answer within {seconds:.3g} s") from None
        raise EndpointError(type(reason if isinstance(reason, Exception) else found).__name__) from None
    return found


def _exchange(url: str, body: bytes, headers: dict[str, str], seconds: float, line: _Line) -> tuple[int, bytes]:
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _Plain(), _Secure()):
        handler.line = line  # type: ignore[union-attr]
        opener.add_handler(handler)
    data = b""
    with opener.open(urllib.request.Request(url, body, headers), timeout=seconds) as reply:
        while part := reply.read1(65536):
            data += part
            if len(data) > MOST_REPLY_BYTES:
                raise EndpointError("an answer of more than a megabyte")
        if reply.length:
            raise EndpointError("an answer that was cut off")
        return reply.status, data


class ReplyCache:
    """Replies by the hash of all that was asked, in a file of JSON lines that a later run reads again; lines that a
    kill cut off are passed over. A file that cannot be written to costs the replies' keeping, not the run, and that is
    said once.
    """

    def __init__(self, file: str | Path):
        self._file, self._writes, self._lock = Path(file), True, threading.Lock()
        self._replies: dict[str, Reply] = {}
        if self._file.is_file():
            for _, row in read_lines(self._file):
                if row and isinstance(row.get("key"), str) and isinstance(row.get("reply"), str):
                    self._replies[row["key"]] = Reply(row["reply"], row.get("cut") is True)

    def get(self, key: str) -> Reply | None:
        return self._replies.get(key)

    def put(self, key: str, reply: Reply) -> None:
        with self._lock:
            self._replies[key] = reply
            if not self._writes:
                return
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, "reply": reply} | ({"cut": True} if reply.cut else {})) + "\n")
            except OSError as error:
                self._writes = False
                log.warning("%s: %s; further replies are not kept", self._file, error.strerror or error)

"""The client of chat completions against servers that are slow, rude or hostile: one short reason each, in time, and a
process that can leave.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from data_prep.annotate.chat_models import Endpoint as CaptionEndpoint
from data_prep.annotate.chat_models import EndpointSettings
from data_prep.annotate.weights import ModelError
from data_prep.synthesis.language import Endpoint as LanguageEndpoint
from spatial_jax.endpoints import ChatEndpoint, EndpointError, ReplyCache, ask_again, mask_secrets
from spatial_jax.rewards import Judge, JudgeConfig, RewardUnavailable

OK = json.dumps({"choices": [{"message": {"content": "yes"}}]}).encode()
ASK = [{"role": "user", "content": "?"}]


@contextlib.contextmanager
def server(talk):
    """A TCP server; `talk(connection, request bytes)` answers each connection. Gives (address, requests)."""
    listener, requests = socket.create_server(("127.0.0.1", 0)), []

    def one(connection):
        with connection, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            size = int(data.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(data.partition(b"\r\n\r\n")[2]) < size:
                data += connection.recv(65536)
            requests.append(data)
            talk(connection, data)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", requests
    listener.close()


def http(body, head="HTTP/1.1 200 OK", more=""):
    return f"{head}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def sends(data):
    return lambda connection, _: connection.sendall(data)


def drips(first):
    """Sends `first`, then a byte every 50 ms for ever."""

    def talk(connection, _):
        connection.sendall(first)
        while True:
            time.sleep(0.05)
            connection.sendall(b"x")

    return talk


def deep(connection, _):
    connection.sendall(http(b'{"choices":' * 50_000))


CUT = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"choi'
REPLIES = {
    "null": (sends(http(b"null")), "not a chat completion"),
    "list": (sends(http(b"[1]")), "not a chat completion"),
    "text null": (sends(http(b'{"choices": [{"message": {"content": null}}]}')), "without text"),
    "no utf-8": (sends(http(b"\xff\xfe\x00")), "not a chat completion"),
    "no http": (sends(b"\x16\x03\x01\x00garbage\r\n\r\n"), "BadStatusLine"),
    "nothing": (sends(b""), "RemoteDisconnected"),
    "cut chunks": (sends(CUT), "IncompleteRead"),
    "bad chunks": (sends(CUT.replace(b"40\r\n", b"zz\r\n")), "IncompleteRead|ValueError"),
    "cut body": (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + OK), "cut off"),
    "deep": (deep, "not a chat completion"),
    "endless line": (sends(b"HTTP/1.1 200 " + b"a" * 100_000), "LineTooLong"),
    "many headers": (sends(http(OK, more="".join(f"a{i}: b\r\n" for i in range(500)))), "HTTPException"),
    "large": (sends(http(b" " * 1_200_000)), "more than a megabyte"),
    "dripped headers": (drips(b"HTTP/1.1 200 OK\r\nX: "), r"no answer within 0\.4 s"),
    "dripped body": (drips(b"HTTP/1.1 200 OK\r\n\r\n{"), r"no answer within 0\.4 s"),
    "silent": (lambda connection, _: time.sleep(60), r"no answer within 0\.4 s"),
    "teapot": (sends(http(b"no", "HTTP/1.1 418 Teapot")), "HTTP 418"),
}


@pytest.mark.parametrize("name", REPLIES)
def test_every_bad_reply_is_one_reason_in_time(name):
    talk, reason = REPLIES[name]
    began = time.monotonic()
    with server(talk) as (url, _):
        with pytest.raises(EndpointError, match=reason) as raised:
            ChatEndpoint(url, "m").complete(ASK, seconds=0.4 if "within" in reason else 5.0, max_tokens=8)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 100
        judge = Judge(JudgeConfig(url, "m", timeout=0.4 if "within" in reason else 5.0, retries=0))
        with pytest.raises(RewardUnavailable, match=reason):
            judge.correct("q", [], "a", "b")
        assert judge.counts["failed"] == sum(judge.failures.values()) == 1
    assert time.monotonic() - began < 4.0
    until = time.monotonic() + 10.0
    while any(t.name == "endpoint" for t in threading.enumerate()):
        assert time.monotonic() < until, "its connection was cut, so its thread ends"
        time.sleep(0.05)


@pytest.mark.parametrize("reason, cut", [("length", True), ("stop", False), (None, False), (["length"], False)])
def test_a_reply_that_was_cut_off_says_so_from_the_cache_too(tmp_path, reason, cut):
    body = json.dumps({"choices": [{"message": {"content": "yes"}, "finish_reason": reason}]}).encode()
    with server(sends(http(body))) as (url, _):
        reply = ChatEndpoint(url, "m").complete(ASK, seconds=5.0, max_tokens=1)
    ReplyCache(tmp_path / "c.jsonl").put("a", reply)
    again = ReplyCache(tmp_path / "c.jsonl").get("a")
    assert reply == again == "yes" and (reply.cut, again.cut) == (cut, cut)


def test_a_good_reply_and_one_after_failures():
    answers = iter([http(b"x", "HTTP/1.1 503 Busy"), http(b"null"), http(OK)])
    with server(lambda connection, _: connection.sendall(next(answers))) as (url, requests):
        found = list(ask_again(ChatEndpoint(url, "m"), ASK, tries=3, pause=0.01, seconds=5.0, max_tokens=8, seed=0))
    assert [str(f) for f in found] == ["HTTP 503", "not a chat completion", "yes"]
    assert requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1") and b'"seed": 0' in requests[0]


def test_a_redirect_is_not_followed_and_takes_no_key_along(monkeypatch):
    monkeypatch.setenv("THE_KEY", "sk-0123456789abcdefghij")
    with server(sends(http(OK))) as (other, elsewhere):
        move = http(b"", "HTTP/1.1 307 Moved", f"Location: {other}/chat/completions\r\n")
        with (
            server(sends(move)) as (url, requests),
            pytest.raises(EndpointError, match="307, a redirect") as raised,
        ):
            ChatEndpoint(url, "m", "THE_KEY").complete(ASK, seconds=5.0, max_tokens=8)
    assert b"Bearer sk-0123456789abcdefghij" in requests[0] and not elsewhere and not raised.value.again


def test_a_key_that_no_header_carries_is_not_shown(monkeypatch):
    monkeypatch.setenv("THE_KEY", "sk-0123456789\nabcdefghij")
    with pytest.raises(EndpointError, match="THE_KEY") as raised:
        ChatEndpoint("http://127.0.0.1:9/v1", "m", "THE_KEY").complete(ASK, seconds=1.0, max_tokens=8)
    assert "0123" not in str(raised.value)


LEAVES = """
import sys
from spatial_jax.rewards import Judge, JudgeConfig, score_many
record = {"question": "q", "answer": "a", "options": (), "question_id": "1"}
judge = Judge(JudgeConfig(sys.argv[1], "m", timeout=0.5, retries=0))
print(score_many([({"kind": "judge"}, "some answer", record)] * 4, judge=judge, deadline=2.0))
"""


def test_the_process_leaves_while_the_server_still_drips():
    with server(drips(b"HTTP/1.1 200 OK\r\nX: ")) as (url, _):
        done = subprocess.run([sys.executable, "-c", LEAVES, url], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.strip() == "[None, None, None, None]"


SECRETS = ["sk-proj-abcDEF0123456789xyz", "hf_abcdefghijklmnop123", "0123456789abcdef0123456789abcdef"]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_key_in_the_wrong_setting_is_refused_and_not_shown(secret):
    for settings in (
        (f"https://{secret}@host/v1", "m", ""),
        (f"https://me:{secret}@host/v1", "m", ""),
        (f"https://host/v1?api-key={secret}", "m", ""),
        (secret, "m", ""),
        ("https://host/v1", secret, ""),
        ("https://host/v1", "m", secret),
    ):
        for make, error in (
            (ChatEndpoint, ValueError),
            (JudgeConfig, ValueError),
            (LanguageEndpoint, ValueError),
            (lambda url, model, key: CaptionEndpoint(EndpointSettings(url, model, key)), ModelError),
        ):
            with pytest.raises(error) as raised:
                make(*settings)
            assert secret not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "Qwen/Qwen2.5-VL-7B-Instruct-AWQ",
        "gpt-4o-mini-2024-07-18",
        "accounts/fireworks/models/qwen2p5-vl-32b-instruct",
        "qwen2_5_vl_7b_instruct_finetuned_v2",
        "https://abcdefghij1234567890abcdefghij12.endpoints.huggingface.cloud/v1",
        "https://x.azure.com/v1?api-version=2024-10-21",
        "OPENAI_API_KEY",
    ],
)
def test_ordinary_names_and_addresses_are_shown(text):
    assert mask_secrets(text) == text


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/passwd", "http://", "http://h:x/v1", "http://a b/v1"])
def test_an_address_that_is_none(url):
    with pytest.raises(ValueError, match="endpoint"):
        ChatEndpoint(url, "m")


@pytest.mark.parametrize("fault", ["no database", "locked", "read only"])
def test_a_cache_that_fails_costs_no_verdict(fault, tmp_path, caplog):
    import sqlite3

    path = tmp_path / "verdicts.sqlite"
    with server(sends(http(OK.replace(b'"yes"', json.dumps('{"correct": true}').encode())))) as (url, requests):
        if fault == "no database":
            path.write_bytes(b"x" * 5000)
            with pytest.raises(ValueError, match="no SQLite file"):
                Judge(JudgeConfig(url, "m", cache=str(path)))
            return
        judge = Judge(JudgeConfig(url, "m", cache=str(path)))
        if fault == "locked":
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
        else:
            judge.cache._database.execute("PRAGMA query_only = 1")
        assert judge.correct("q", [], "a", "b") and judge.correct("q", [], "a", "b")
        assert len(requests) == 1 and judge.counts["cached"] == 1
        assert caplog.text.count("kept in memory from here on") == 1


def test_the_key_is_read_when_asked(monkeypatch):
    monkeypatch.setitem(os.environ, "THE_KEY", "abc")
    with server(sends(http(OK))) as (url, requests):
        endpoint = ChatEndpoint(url, "m", "THE_KEY")
        monkeypatch.setitem(os.environ, "THE_KEY", "def")
        assert endpoint.complete(ASK, seconds=5.0, max_tokens=8) == "yes"
    assert b"Authorization: Bearer def" in requests[0]

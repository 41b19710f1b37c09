"""A headless Chromium, driven over its own pipe: no package, no port, no network."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ANSWER_S = 60.0


def chromium() -> str:
    """The browser's path: $BROWSER, else the first of NAMES. RuntimeError says how to get one."""
    for name in (os.environ.get("BROWSER", ""), *NAMES):
        if name and (path := shutil.which(name)):
            return path
    raise RuntimeError("no browser: install chromium (apt install chromium), or set BROWSER to a Chrome's path")


class Browser:
    """One page of a headless browser. `problems` collects what the console calls an error, `requests` every address
    that is asked for beside the page and what it holds itself.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_in, self._out = os.pipe()
        self._in, write_out = os.pipe()
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")

        def as_three_and_four() -> (
            None
        ):  # the browser reads from 3 and writes to 4; dup first, they may be those already
            a, b = os.dup(read_in), os.dup(write_out)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self._child = subprocess.Popen(
            [chromium(), *flags, f"--user-data-dir={self._profile.name}", "about:blank"],
            preexec_fn=as_three_and_four,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_in)
        os.close(write_out)
        self._buffer, self._number, self._session, self._loaded = b"", 0, "", False
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The browser's answer to a command of its protocol. RuntimeError where it refuses."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error'].get('message')}")
                return answer["result"]

    def _message(self) -> dict[str, Any]:
        """The next message; events are noted on the way."""
        end = time.monotonic() + ANSWER_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._in, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError(f"the browser said nothing for {ANSWER_S:.0f} s")
            self._buffer += part
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(raw)
        self._note(message.get("method", ""), message.get("params") or {})
        return message

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(str(details.get("exception", {}).get("description") or details.get("text")))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(a.get("value")) for a in params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith(("data:", "about:")):
                self.requests.append(address)

    def open(self, page: str | Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Loads a file in a window of this size, in the light or dark scheme."""
        self.problems, self.requests, self._loaded = [], [], False
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=Path(page).resolve().as_uri())
        while not self._loaded:
            self._message()
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """The value of a script, awaited where it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]["exception"].get("description")))
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Returns when a script's value is true; on a busy machine a page needs its time. RuntimeError where it stays
        false.
        """
        end = time.monotonic() + ANSWER_S
        while not self.run(script):
            if time.monotonic() > end:
                raise RuntimeError(f"not true after {ANSWER_S:.0f} s: {script}")
            time.sleep(0.05)

    def press(self, key: str, text: str = "") -> None:
        """One key, as a keyboard sends it ("Enter", "Tab", "ArrowRight", or a character with its `text`)."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
        text = text or {"Enter": "\r", " ": " "}.get(key, "")
        code = codes.get(key, ord(key[0].upper()))
        self.call(
            "Input.dispatchKeyEvent",
            type="keyDown" if text else "rawKeyDown",
            key=key,
            text=text,
            windowsVirtualKeyCode=code,
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def shot(self, path: str | Path, *, full: bool = False) -> Path:
        """A picture of the window, or of the whole page."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        Path(path).write_bytes(base64.b64decode(taken["data"]))
        return Path(path)

    def close(self) -> None:
        self._child.terminate()
        self._child.wait(timeout=30)
        for end in (self._in, self._out):
            os.close(end)
        self._profile.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

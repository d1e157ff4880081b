"""Chromium without a window, driven by its own protocol over two pipes: what a page shows, asks for and complains about."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: What the protocol calls a key, for those that type no character.
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38}
#: What a page asks the network for: all but its own file and what it holds itself.
_OWN = ("data:", "file:", "about:")
#: Seconds, on the busiest machine, until the browser answers.
_LIMIT = 120


def chromium() -> str:
    """Return the path of the browser. It fails where there is none: a test that is left out proves nothing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.fail("not installed: chromium. On Debian: apt-get install chromium", pytrace=False)


class Page:
    """One tab of the browser."""

    def __init__(self, browser: _Connection, session: str) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its answer."""
        return self._browser.ask(method, session=self._session, **parameters)

    def look_as(self, *, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> Page:
        """Have the window of such a size, on a system of such a theme."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        return self

    def open(self, place: Path | str) -> Page:
        """Open a file or an address, and wait until it is loaded and drawn."""
        self._browser.events.clear()
        begun = self.ask("Page.navigate", url=place.as_uri() if isinstance(place, Path) else place)
        if "loaderId" in begun:  # or it is another place in the same page
            self._browser.wait_for("Page.loadEventFired")
        return self.settle()

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, and return what it gives, also by a promise."""
        told = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def settle(self) -> Page:
        """Wait until the page has drawn what it was told."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of what a selector finds."""
        found: list[str] = self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(one => one.innerText)")
        return found

    def count(self, selector: str) -> int:
        """Return how many elements a selector finds."""
        return int(self.run(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def focused(self) -> str:
        """Return the text or the name of what has the focus."""
        return str(self.run("(at => at.ariaLabel || at.innerText || at.id || at.tagName)(document.activeElement)"))

    def click(self, selector: str) -> Page:
        """Click with the mouse in the middle of the first element that a selector finds."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{find}.scrollIntoView({{block: 'center'}})")
        box = self.run(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({find}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        return self.settle()

    def press(self, key: str, *, times: int = 1) -> Page:
        """Press a key: a character, or one such as ``Tab``."""
        about: dict[str, Any] = {"key": key}
        if key in _KEYS:
            about |= {"windowsVirtualKeyCode": _KEYS[key], "code": key}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for _ in range(times):
            self.ask("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
            self.ask("Input.dispatchKeyEvent", type="keyUp", **about)
        return self.settle()

    def write(self, text: str) -> Page:
        """Type a text where the focus is."""
        self.ask("Input.insertText", text=text)
        return self.settle()

    def photograph(self, target: Path) -> Path:
        """Write what the window shows into a PNG file."""
        target.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))
        return target

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings on the console since the page was opened, those of the browser itself too."""
        self.settle()
        told = []
        for method, about in self._browser.events:
            if method == "Runtime.exceptionThrown":
                told.append(str(about["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and about["type"] in {"error", "warning", "assert"}:
                told.append(str(about["args"]))
            elif method == "Log.entryAdded" and about["entry"]["level"] in {"error", "warning"}:
                told.append(str(about["entry"]))
        return told

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for since it was opened, but for its own file and what it holds itself."""
        self.settle()
        asked = [
            about["request"]["url"] for method, about in self._browser.events if method == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith(_OWN)]


class _Connection:
    """The protocol: JSON texts, each ended by a NUL character."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = os.fdopen(reader, "rb", buffering=0)
        self._writer = os.fdopen(writer, "wb", buffering=0)
        self._rest = b""
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []

    def ask(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[self._writer.write(data) :]
        while (told := self._next()).get("id") != number:
            self._note(told)
        assert "error" not in told, (method, told)
        return dict(told["result"])

    def wait_for(self, event: str) -> None:
        while not any(method == event for method, _ in self.events):
            self._note(self._next())

    def _note(self, told: dict[str, Any]) -> None:
        self.events.append((told["method"], told["params"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._reader], [], [], _LIMIT)[0], "the browser does not answer"
            chunk = self._reader.read(1 << 20)
            assert chunk, "the browser has ended"
            self._rest += chunk
        one, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(one))

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, above the numbers that the protocol has for its own."""
    ends = os.pipe()
    above = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return above[0], above[1]


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """Start the browser, give an empty tab of it, and end it."""
    to_read, its_out = _pipe()
    its_in, to_write = _pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *(chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--mute-audio"),
            *(f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"),
        ]
        # The protocol has its numbers: the browser reads from 3 and writes to 4.
        shell = ["bash", "-c", f'exec 3<&{its_in} 4>&{its_out}; exec "$@"', "browser", *command]
        started = subprocess.Popen(
            shell, pass_fds=(its_in, its_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(its_in)
        os.close(its_out)
        connection = _Connection(to_read, to_write)
        try:
            target = connection.ask("Target.createTarget", url="about:blank")["targetId"]
            session = connection.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            yield Page(connection, session).look_as()
            connection.ask("Browser.close")
        finally:
            connection.close()
            started.terminate()
            started.wait()

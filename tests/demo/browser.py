"""A real browser, driven over its own debugging pipe: no driver, no package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: How long to wait for the browser, which a busy machine may starve.
PATIENCE_S = 120.0


class Browser:
    """One headless page of Chromium, spoken to in the DevTools protocol.

    Attributes:
        messages: What the page wrote on its console and what it was refused, such as violations of its policy.
    """

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        self.messages: list[str] = []
        self._last_id = 0
        self._session = ""
        self._buffer = b""
        commands, self._to_browser = os.pipe()
        self._from_browser, replies = os.pipe()
        # The browser reads from descriptor 3 and writes to descriptor 4, messages ended by a zero byte. Other shells
        # know descriptors of one digit only.
        script = f'exec "$@" 3<&{commands} 4>&{replies}'
        arguments = [
            *(CHROMIUM, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"),
            *("--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={profile}", "about:blank"),
        ]
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *arguments],
            pass_fds=(commands, replies),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(replies)
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._session = ""
        self._call("Browser.close")
        self._process.wait(PATIENCE_S)
        os.close(self._to_browser)
        os.close(self._from_browser)

    def open(self, address: str, width: int = 1120, height: int = 900, dark: bool = False) -> None:
        """Go to an address, in a window of some size and a light or dark scheme."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        result = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.run(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            time.sleep(0.05)

    def write(self, selector: str, text: str) -> None:
        """Replace the text of a field as a person does."""
        self.run(f"(() => {{ const field = document.querySelector({json.dumps(selector)}); "
                 "field.focus(); field.select(); })()")  # fmt: skip
        self._call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click into the middle of an element with the mouse."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.run(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, **place)

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Let no request through for the block."""
        self._call("Network.enable")
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self._call("Network.emulateNetworkConditions", offline=True, **conditions)
        try:
            yield
        finally:
            self._call("Network.emulateNetworkConditions", offline=False, **conditions)

    def screenshot(self, file: Path) -> None:
        """Write a picture of the whole page."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {**size, "scale": 1}
        picture = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(picture["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._receive()
            self._note(reply)
            if reply.get("id") == self._last_id:
                assert "error" not in reply, (method, reply["error"])
                return reply["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._from_browser, 2**16)
            assert piece, "the browser ended"
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled":
                self.messages.append(" ".join(str(each.get("value")) for each in parameters["args"]))
            case "Runtime.exceptionThrown":
                self.messages.append(parameters["exceptionDetails"]["text"])
            case "Log.entryAdded":
                self.messages.append(parameters["entry"]["text"])

"""A headless Chromium, driven over its DevTools pipe with nothing but the standard library."""
import json
import os
import select
import shutil
import subprocess
import tempfile

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
               None)
TO_CHROMIUM, FROM_CHROMIUM = 3, 4                # the file descriptors that it reads and writes
PATIENCE = 60                                    # seconds


class Browser:
    """One page. Used in a `with` block."""

    def __init__(self, path: str):
        self.home = tempfile.mkdtemp(prefix="chromium")
        their_in, self.out = os.pipe()
        self.back, their_out = os.pipe()

        def place():                             # in the child, before it becomes Chromium
            copies = os.dup(their_in), os.dup(their_out)
            os.dup2(copies[0], TO_CHROMIUM)
            os.dup2(copies[1], FROM_CHROMIUM)

        self.process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={self.home}", "--remote-debugging-pipe"],
            preexec_fn=place, pass_fds=(TO_CHROMIUM, FROM_CHROMIUM), stderr=subprocess.DEVNULL)
        os.close(their_in)
        os.close(their_out)
        self.buffer, self.number, self.session = b"", 0, None
        target = self.ask("Target.createTarget", url=f"file://{path}")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        while self.js("location.protocol + document.readyState") != "file:complete":
            pass                                 # the blank page before it is complete as well

    def ask(self, method: str, **parameters):
        """Sends a command; waits for its result, past all events."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                ready, _, _ = select.select([self.back], [], [], PATIENCE)
                assert ready, f"no answer to {method}"
                read = os.read(self.back, 1 << 16)
                assert read, "Chromium has ended"
                self.buffer += read
            line, _, self.buffer = self.buffer.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def js(self, expression: str):
        """The value of a JavaScript expression in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def size(self, width: int, scheme: str) -> None:
        """The window's width in pixels; scheme: light or dark."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=800,
                 deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": scheme}])

    def hover(self, selector: str) -> None:
        """Rests the pointer on the first such element."""
        x, y = self.js(f"(() => {{ const e = document.querySelector({selector!r}); "
                       "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect(); "
                       "return [r.x + r.width / 2, r.y + r.height / 2] })()")
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def key(self, name: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                     windowsVirtualKeyCode=code)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error) -> None:
        os.close(self.out)                       # Chromium ends with its pipe
        self.process.wait(timeout=20)
        os.close(self.back)
        shutil.rmtree(self.home, ignore_errors=True)

"""Where a run's time and memory go: `with clock("sampling"):` around a part, `--profile` to see it.

    python train.py --profile

Only one part runs at a time: an inner one pauses the outer one, so that the parts sum up to the
whole. With --profile a GPU is waited for at every change, so that its time falls where it is spent
(the run is slower for it).
"""
import os
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import Iterator

import torch


class Clock:
    """Off, and free of cost but for a call or two, until `start`."""

    def __init__(self) -> None:
        self.on, self.since, self.part = False, 0.0, "the rest"
        self.seconds: dict[str, float] = defaultdict(float)
        self.bytes: dict[str, int] = {}

    def start(self) -> None:
        self.on, self.since = True, time.perf_counter()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        outer = self.part
        self._change(part)
        try:
            yield
        finally:
            self._change(outer)

    def _change(self, part: str) -> None:
        if self.on:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.seconds[self.part] += now - self.since
            self.since = now
        self.part = part

    def note(self, name: str, size: int) -> None:
        """Keeps the largest size, in bytes, of that name."""
        self.bytes[name] = max(size, self.bytes.get(name, 0))

    def note_memory(self, when: str) -> None:
        """What the process holds now: of the GPU where there is one, else of the machine."""
        if torch.cuda.is_available():
            self.note(f"memory at {when}", torch.cuda.memory_reserved())
        elif sys.platform == "linux":
            with open("/proc/self/statm", encoding="utf-8") as file:
                pages = int(file.read().split()[1])
            self.note(f"memory at {when}", pages * os.sysconf("SC_PAGE_SIZE"))

    def report(self) -> str:
        """A line a part, the longest first, their sum, then the sizes."""
        self._change(self.part)
        total = sum(self.seconds.values())
        falling = sorted(self.seconds.items(), key=lambda x: -x[1])
        return "\n".join([f"{part:40}{s:9.1f} s {s / total:7.1%}"
                          for part, s in [*falling, ("all", total)]] +
                         [f"{name:40}{size / 2**20:9.1f} MiB" for name, size in self.bytes.items()])


clock = Clock()

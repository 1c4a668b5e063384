"""Where a run's time and memory go: `with clock("sampling"):` around a part, `--profile` to see it.

    python train.py --profile

Only one part is timed at once: an inner part pauses the outer one, so that the parts sum up to the
whole. With --profile the host waits for the GPU whenever the part changes, so that time is counted
in the part that spends it; the run is slower for it.
"""
import os
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import Iterator

import torch


class Clock:
    """Costs a call or two until `start`."""

    def __init__(self) -> None:
        self.on = False
        self.since = 0.0
        self.part = "the rest"
        self.seconds: dict[str, float] = defaultdict(float)
        self.bytes: dict[str, int] = {}

    def start(self) -> None:
        self.on = True
        self.since = time.perf_counter()

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
        """The memory in use now: the GPU's where there is one, else this process's."""
        if torch.cuda.is_available():
            self.note(f"memory at {when}", torch.cuda.memory_reserved())
        elif sys.platform == "linux":
            with open("/proc/self/statm", encoding="utf-8") as file:
                pages = int(file.read().split()[1])
            self.note(f"memory at {when}", pages * os.sysconf("SC_PAGE_SIZE"))

    def report(self) -> str:
        """A line for each part, the longest first, for their sum, and for each size."""
        self._change(self.part)
        total = sum(self.seconds.values())
        parts = sorted(self.seconds.items(), key=lambda item: item[1], reverse=True)
        lines = [f"{part:40}{seconds:9.1f} s {seconds / total:7.1%}"
                 for part, seconds in [*parts, ("all", total)]]
        lines += [f"{name:40}{size / 2**20:9.1f} MiB" for name, size in self.bytes.items()]
        return "\n".join(lines)


clock = Clock()

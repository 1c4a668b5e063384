"""Where a run's time goes: `with clock("sampling"):` around a part, `--profile` to see the parts.

    python train.py --profile

Only one part runs at a time: an inner one pauses the outer one, so that the parts sum up to the
whole. With --profile a GPU is waited for at every change, so that its time falls where it is spent
(the run is slower for it).
"""
import time
from collections import Counter
from contextlib import contextmanager

import torch


class Clock:
    def __init__(self):
        self.on, self.part, self.seconds = False, "the rest", Counter()

    def start(self):
        self.on, self.since = True, time.perf_counter()

    @contextmanager
    def __call__(self, part: str):
        outer = self.part
        self._change(part)
        try:
            yield
        finally:
            self._change(outer)

    def _change(self, part: str):
        if self.on:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.seconds[self.part] += now - self.since
            self.since = now
        self.part = part

    def report(self) -> str:
        """A line a part, the longest first."""
        self._change(self.part)
        total = sum(self.seconds.values())
        return "\n".join(f"{part:24}{s:9.1f} s {s / total:7.1%}"
                         for part, s in self.seconds.most_common())


clock = Clock()

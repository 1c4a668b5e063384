"""Runs a model-written Python program against tests: does it print what they expect?

    verdict = run_tests(program, [("1 2\\n", "3\\n")], seconds=10, megabytes=512)
    verdict.passed, verdict.status, verdict.reason, verdict.test;    isolation()  # what holds here

These are limits for a model's programs on your own machine: a program that loops, allocates, forks,
fills the disk, looks for the expected output or talks to the network gets its verdict, and leaves
nothing behind. It is no security boundary against an attacker: the program shares the kernel.

Each test takes three processes (jail.py), some 40 ms of one core for a trivial program (measured):

    caller ──starts──> stage 0 ──forks──> supervisor ──forks──> program <── stdin, a file
       └<── "started", "ended CODE KILOBYTES" or "failed WHY" ──┘  │
       └<──────────────────── stdout and stderr ───────────────────┘

1. Stage 0 is a fresh interpreter that never knows the expected output. It carries out the *plan*,
   the parts of isolation that this system grants: namespaces (network, processes, files) and, for
   root, a user of the run's own.
2. The supervisor is process 1 of the process namespace. When it ends, the kernel ends all others.
3. The program takes on limits and user, then execs an interpreter with the standard library alone.
   Then the time limit begins.

`_plan` tries plans from the strictest on with an empty program, and keeps the first that works. If
a part of it fails later, that run is "unsupported". Without namespaces, root still has a user for
each run, and removes that user's processes and files. Without either (macOS, most containers
without root) only the limits hold, on macOS not that of memory: such a program can kill the
caller's processes, and read and write the caller's files.
"""
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Iterator

from grading import jail
from grading.jail import DUMPABLE, FILES, NETWORK, PROCESSES, USER, prctl, remove

OUTPUT = 16 << 20        # bytes beside the expected output's, ours: no answer has as much
ERRORS = 4096            # bytes, ours: the last lines of a traceback
SETUP = 10.0             # seconds, ours: stage 0 takes some 0.02; a busy machine is no failure
GRACE = 0.5              # seconds, ours: to end a program that ran out of time
ALL = (NETWORK, PROCESSES, FILES, USER)
ROOT_PLANS = (ALL, (NETWORK, PROCESSES, USER), (USER,))
USER_PLANS = ((NETWORK, PROCESSES, FILES), (NETWORK, PROCESSES), ())
CORES = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))   # torchrun's
_slots = threading.BoundedSemaphore(CORES)


@dataclass
class Verdict:
    """status: "passed", "wrong", "crashed", "timeout", "memory" or "unsupported" (did not run)."""
    status: str
    reason: str = ""
    test: int | None = None            # the first that failed, from 1

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def run_tests(program: str, tests: list[tuple[str, str]], seconds: float,
              megabytes: int) -> Verdict:
    """Does the program print what each test expects? See `same_output`.

    tests: (stdin, expected stdout), up to the first that fails. seconds: wall clock for each test.
    megabytes: of memory for each process of the program. Any thread may call it; one program a
    core runs at a time. Raises ValueError without tests, time or memory.
    """
    if not tests or seconds <= 0 or megabytes <= 0:
        raise ValueError("a verdict needs a test, a time and a memory")
    try:
        plan = _plan()
    except OSError as error:
        return Verdict("unsupported", str(error), 1)
    for number, (text, expected) in enumerate(tests, 1):
        most = OUTPUT + 4 * len(expected)
        verdict, output = _run(plan, program, text, seconds, megabytes, most)
        if verdict.passed and not same_output(output, expected.encode("utf-8", "surrogatepass")):
            verdict = Verdict("wrong", "another output than expected")
        if not verdict.passed:
            verdict.test = number
            return verdict
    return Verdict("passed")


INTEGER = re.compile(rb"[+-]?[0-9]+")
NUMBER = re.compile(rb"""
    [+-]? (?: [0-9]+ \.? [0-9]* | \. [0-9]+ )       # 12  -0.5  1.  .5
    (?: e [+-]? [0-9]+ )?                           # 1e-5
    """, re.VERBOSE)


def same_output(output: bytes, expected: bytes) -> bool:
    """Are they the same words, whatever the space between them and the case of ASCII's letters?

    As CodeContests' own tester (google-deepmind/code_contests, execution/tester_sandboxer.cc,
    OutputsMatch), two numbers are the same within 1e-5. It reads all of them as doubles, and so
    takes 10^20 for 10^20 + 1; here integers keep all their digits.
    """
    words, others = output.lower().split(), expected.lower().split()
    return words == others or len(words) == len(others) and all(map(_same_word, words, others))


def _same_word(word: bytes, other: bytes) -> bool:
    if word == other or not (NUMBER.fullmatch(word) and NUMBER.fullmatch(other)):
        return word == other
    # A Decimal reads all digits of an integer, and == between it and a float is exact
    a, b = (Decimal(x.decode()) if INTEGER.fullmatch(x) else float(x) for x in (word, other))
    close = abs(float(a) - float(b)) < 1e-5                 # not for inf - inf, which is no number
    return close and (a == b or abs(float(a)) < 1 << 53)


def isolation() -> str:
    """One line: which parts of the isolation work on this system, which was tried."""
    try:
        plan = _plan()
    except OSError as error:
        return f"programs cannot be run: {error}"
    line = ", ".join(plan) or "limits alone"
    missing = [part for part in ALL if part not in plan]
    return f"{line}; not: {', '.join(missing)}" if missing else line


@lru_cache
def _plan() -> tuple[str, ...]:
    """The strictest plan that works here. Raises OSError if none does; that is not cached."""
    root = os.name == "posix" and os.getuid() == 0
    for plan in ROOT_PLANS if root else USER_PLANS:
        if not plan:
            prctl(DUMPABLE, 0)        # for good: a program that outlives its run cannot read us
        verdict, _ = _run(plan, "", "", SETUP, 256, 0)
        if verdict.passed:
            return plan
    raise OSError(verdict.reason)


@contextmanager
def _folder(program: str, text: str) -> Iterator[str]:
    """A temporary folder: program.py, stdin, and tmp, where the program runs and may write."""
    folder = tempfile.mkdtemp(prefix="sandbox-")
    try:
        for name, content in (("program.py", program), ("stdin", text)):
            with open(f"{folder}/{name}", "wb") as file:
                file.write(content.encode("utf-8", "surrogatepass"))
            os.chmod(f"{folder}/{name}", 0o444)
        os.mkdir(f"{folder}/tmp")
        os.chmod(folder, 0o711)        # the program's user passes through
        yield folder
    finally:
        remove(folder)


def _run(plan: tuple[str, ...], program: str, text: str, seconds: float, megabytes: int,
         most: int) -> tuple[Verdict, bytes]:
    """(verdict, stdout) of one run; "passed" is exit status 0 in time. most: bytes of stdout."""
    if os.name != "posix":
        return Verdict("unsupported", "limits on programs need Linux or macOS"), b""
    try:
        with _slots, _folder(program, text) as folder:
            read, write = os.pipe()
            # The interpreter itself, which needs no file of a venv
            python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
            command = [python, "-I", "-S", "-B", os.path.abspath(jail.__file__),
                       str(write), str(seconds), str(megabytes), *plan]
            pipe = subprocess.PIPE
            with (open(read, "rb", 0) as report, open(write, "wb", 0) as theirs,
                  open(f"{folder}/stdin", "rb") as stdin,
                  subprocess.Popen(command, bufsize=0, cwd=f"{folder}/tmp", env={}, stdin=stdin,
                                   stdout=pipe, stderr=pipe, pass_fds=[write],
                                   start_new_session=True) as stage0):
                theirs.close()
                run = _Run(stage0, report, most)
                try:
                    run.watch(seconds)
                finally:
                    run.end()
    except OSError as error:
        return Verdict("unsupported", str(error)), b""
    return run.verdict(seconds, megabytes), bytes(run.output)


class _Run:
    """The caller's part while a program runs: the outputs, the report, the time limit."""

    def __init__(self, stage0: subprocess.Popen, report: Any, most: int):
        assert stage0.stdout and stage0.stderr
        self.stage0, self.report, self.most = stage0, report, most
        self.output, self.errors, self.reported = bytearray(), bytearray(), bytearray()
        self.received = {stage0.stdout: self.output, stage0.stderr: self.errors,
                         report: self.reported}
        self.timed_out = False
        self.ended = False                 # stage 0 has closed its report

    def watch(self, seconds: float) -> None:
        """Returns when stage 0 has ended, time is up or the output is too long."""
        with selectors.DefaultSelector() as selector:
            for pipe in self.received:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            deadline = time.monotonic() + SETUP
            lines = 0
            while not (self.ended or self.timed_out or len(self.output) > self.most):
                ready = [key.fileobj for key, _ in selector.select(deadline - time.monotonic())]
                for pipe in ready:
                    if not self.read(pipe):
                        selector.unregister(pipe)
                # Each line of the report starts another time limit: of the program, of its end
                if self.reported.count(b"\n") > lines:
                    lines = self.reported.count(b"\n")
                    deadline = time.monotonic() + (seconds if lines == 1 else GRACE)
                self.timed_out = time.monotonic() >= deadline and self.report not in ready

    def read(self, pipe: Any) -> bool:
        """Reads what a pipe contains; False at its end, or if it is empty."""
        data = pipe.read(1 << 16)
        if data == b"" and pipe is self.report:
            self.ended = True
        self.received[pipe] += data or b""
        del self.errors[:-ERRORS]
        return bool(data)

    def end(self) -> None:
        """Ends the processes, then reads the rest of the output."""
        if not self.ended:
            self.stage0.terminate()
            with selectors.DefaultSelector() as selector:
                selector.register(self.report, selectors.EVENT_READ)
                deadline = time.monotonic() + GRACE
                while not self.ended and selector.select(max(0, deadline - time.monotonic())):
                    self.read(self.report)
        with suppress(OSError):
            os.killpg(self.stage0.pid, signal.SIGKILL)           # before wait frees the number
        self.stage0.wait()
        while len(self.output) <= self.most and self.read(self.stage0.stdout):
            pass

    def verdict(self, seconds: float, megabytes: int) -> Verdict:
        """The verdict, from the report, the output and the exit status."""
        report = self.reported.decode(errors="replace").split("\n")
        if report[0] != "started":
            reason = report[0].removeprefix("failed ") or "the program did not start"
            return Verdict("unsupported", reason)
        if len(self.output) > self.most:
            return Verdict("wrong", f"more than {self.most >> 20} MB of output")
        if not report[1] and self.timed_out:
            return Verdict("timeout", f"more than {seconds:g} s")
        if not report[1]:
            return Verdict("crashed", "it killed its supervisor")
        code, kilobytes = map(int, report[1].split()[1:])            # "ended", then these
        if code == -signal.SIGXCPU:
            return Verdict("timeout", f"more than {seconds:g} s of CPU")
        errors = self.errors.decode(errors="replace").strip()
        last = errors.rpartition("\n")[2][:200]
        large = kilobytes > megabytes << 9                           # half of the limit
        # Python 3.13 may lack the memory to end its traceback with MemoryError
        out_of_memory = large and (code == -signal.SIGKILL or code > 0 and "MemoryError" in errors)
        if out_of_memory or code > 0 and last.startswith("MemoryError"):
            return Verdict("memory", f"more than {megabytes} MB")
        if code > 0 and last:
            return Verdict("crashed", last)
        return Verdict("crashed", f"exit status {code}") if code else Verdict("passed")

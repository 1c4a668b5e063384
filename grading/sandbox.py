"""Runs a model-written Python program against tests: is its output the expected one?

    verdict = run_tests(program, [("1 2\\n", "3\\n")], seconds=10, megabytes=512)
    verdict.passed, verdict.status, verdict.reason, verdict.test;    isolation()  # what holds here

These are limits for a model's programs on your own machine: what loops, allocates, forks, fills
the disk, looks for the expected output or talks to the network gets its verdict, and leaves nothing
behind. It is no security boundary against an attacker: the kernel is shared with the program.

Method: each test starts three processes. *Stage 0* is jail.py in a fresh interpreter, which never
knows the expected output. It takes on a *plan*, the parts of isolation that this system grants:
namespaces (network, processes, files), as root also a user of the run's own. Its child is the
*supervisor*, process 1 of the process namespace, whose end is the end of all in it. That one forks
the *program*: limits, the user, then exec of a fresh interpreter, with the standard library alone.
Pipes that exec closes report that the program has started, or why not: time counts from then on.

`_plan` tries plans from the strictest on with an empty program; the first that holds is used from
then on, as a whole: a run where a part of it fails is "unsupported". Without namespaces, root still
has a user for each run, whose processes and files are removed by that user's number. Without either
(macOS, most containers without root) only the limits hold: such a program can kill the caller's
processes, and read and write the caller's files. On macOS memory is not limited.

A trivial program takes 40 ms of one core (measured; 50 to 60 on a busy machine), 8 of them for its
own interpreter; the network namespace, mounts and stage 0 have the rest.
"""
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Iterator

from grading import jail
from grading.jail import DUMPABLE, FILES, NETWORK, PROCESSES, USER, prctl, remove

OUTPUT = 16 << 20        # bytes beside the expected output's, ours: none of the answers has as much
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
    """Does the program print what each test expects? Words are compared, not the space between.

    tests: (stdin, expected stdout), up to the first that fails. seconds: wall clock for each test.
    megabytes: of memory for each process of the program. Any thread may call it; one program a
    core runs at a time. Raises ValueError where there are no tests, no time or no memory.
    """
    if not tests or seconds <= 0 or megabytes <= 0:
        raise ValueError("a verdict needs a test, a time and a memory")
    try:
        plan = _plan()
    except OSError as error:
        return Verdict("unsupported", str(error), 1)
    for number, (text, expected) in enumerate(tests, 1):
        most = OUTPUT + 4 * len(expected)
        status, reason, out = _run(plan, program, text, seconds, megabytes, most)
        words = out.decode("utf-8", "surrogateescape").split()
        if status == "passed" and words != expected.split():
            status, reason = "wrong", "another output than expected"
        if status != "passed":
            return Verdict(status, reason, number)
    return Verdict("passed")


def isolation() -> str:
    """One line: which parts of the isolation hold on this system, as its own try has shown."""
    try:
        plan = _plan()
    except OSError as error:
        return f"programs cannot be run: {error}"
    missing = [part for part in ALL if part not in plan]
    return (", ".join(plan) or "limits alone") + (f"; not: {', '.join(missing)}" * bool(missing))


@lru_cache
def _plan() -> tuple[str, ...]:
    """The strictest plan that works here. Raises OSError where none does; that is not cached."""
    for plan in USER_PLANS if os.name != "posix" or os.getuid() else ROOT_PLANS:
        if not plan:
            prctl(DUMPABLE, 0)        # for good: a program that outlives its run cannot read us
        status, reason, _ = _run(plan, "", "", SETUP, 256, 0)
        if status == "passed":
            return plan
    raise OSError(reason)


@contextmanager
def _folder(program: str) -> Iterator[str]:
    """A temporary folder: program.py, and tmp, where it runs and may write."""
    folder = tempfile.mkdtemp(prefix="sandbox-")
    try:
        with open(f"{folder}/program.py", "wb") as file:
            file.write(program.encode("utf-8", "surrogatepass"))
        os.mkdir(f"{folder}/tmp")
        os.chmod(f"{folder}/program.py", 0o644)
        os.chmod(folder, 0o711)        # the program's user passes through
        yield folder
    finally:
        remove(folder)


def _run(plan: tuple[str, ...], program: str, text: str, seconds: float, megabytes: int,
         most: int) -> tuple[str, str, bytes]:
    """(status, reason, stdout) of one run; "passed" is exit status 0 in time. most: bytes."""
    if os.name != "posix":
        return "unsupported", "limits on programs need Linux or macOS", b""
    try:
        with _slots, _folder(program) as folder:
            read, write = os.pipe()
            # The venv's own interpreter, which needs no file of the venv.
            python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
            command = [python, "-I", "-S", "-B",
                       os.path.abspath(jail.__file__), write, seconds, megabytes, *plan]
            with (open(read, "rb", 0) as report, open(write, "wb", 0) as theirs,
                  subprocess.Popen([str(x) for x in command], bufsize=0, cwd=f"{folder}/tmp",
                                   env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, pass_fds=[write],
                                   start_new_session=True) as stage0):
                theirs.close()
                run = _Run(stage0, report, text.encode("utf-8", "surrogatepass"), most)
                try:
                    run.watch(seconds)
                finally:
                    run.end()
    except OSError as error:
        return "unsupported", str(error), b""
    return *run.judge(seconds, megabytes), bytes(run.out)


class _Run:
    """What the caller does while a program runs: it feeds, collects, and watches the time."""

    def __init__(self, stage0: subprocess.Popen, report: Any, text: bytes, most: int):
        assert stage0.stdin and stage0.stdout and stage0.stderr
        self.stage0, self.report, self.text, self.most = stage0, report, memoryview(text), most
        self.stdin, self.stdout = stage0.stdin, stage0.stdout
        self.out, self.err, self.said = bytearray(), bytearray(), bytearray()
        self.late = self.gone = False
        self.into = {stage0.stdout: self.out, stage0.stderr: self.err, report: self.said}

    def watch(self, seconds: float) -> None:
        """Returns when stage 0 has gone, time is up or the output is too long."""
        with selectors.DefaultSelector() as selector:
            for pipe in self.into:
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(self.stdin, selectors.EVENT_WRITE)
            for pipe in (*self.into, self.stdin):
                os.set_blocking(pipe.fileno(), False)
            deadline, states = time.monotonic() + SETUP, 0
            while not (self.gone or self.late or len(self.out) > self.most):
                ready = [key.fileobj for key, _ in selector.select(deadline - time.monotonic())]
                for pipe in ready:
                    if not (self.read(pipe) if pipe in self.into else self.write()):
                        selector.unregister(pipe)
                if self.said.count(b"\n") > states:                 # it has started, or ended
                    states = self.said.count(b"\n")
                    deadline = time.monotonic() + (seconds if states == 1 else GRACE)
                self.late = time.monotonic() >= deadline and self.report not in ready

    def read(self, pipe: Any) -> bool:
        """Takes what is there; False at the pipe's end, or where it is empty."""
        data = pipe.read(1 << 16)
        if data == b"" and pipe is self.report:
            self.gone = True
        self.into[pipe] += data or b""
        del self.err[:-ERRORS]
        return bool(data)

    def write(self) -> bool:
        """Gives stdin what it takes; closes it after the last, False then."""
        with suppress(BrokenPipeError):
            self.text = self.text[os.write(self.stdin.fileno(), self.text):]
            if self.text:
                return True
        self.stdin.close()
        return False

    def end(self) -> None:
        """Ends the processes, then takes the rest of the output."""
        if not self.gone:
            self.stage0.terminate()
            with selectors.DefaultSelector() as selector:
                selector.register(self.report, selectors.EVENT_READ)
                deadline = time.monotonic() + GRACE
                while not self.gone and selector.select(max(0, deadline - time.monotonic())):
                    self.read(self.report)
        with suppress(OSError):
            os.killpg(self.stage0.pid, signal.SIGKILL)           # before wait frees the number
        self.stage0.wait()
        while len(self.out) <= self.most and self.read(self.stdout):
            pass

    def judge(self, seconds: float, megabytes: int) -> tuple[str, str]:
        """(status, reason), from what was reported and how it ended."""
        said = self.said.decode(errors="replace").split("\n")
        if said[0] != "started":
            return "unsupported", said[0].removeprefix("failed ") or "the program did not start"
        if len(self.out) > self.most:
            return "wrong", f"more than {self.most >> 20} MB of output"
        if not said[1]:
            return (("timeout", f"more than {seconds:g} s") if self.late else
                    ("crashed", "it killed its supervisor"))
        code, kilobytes = map(int, said[1].split()[1:])
        errors, large = self.err.decode(errors="replace").strip(), kilobytes > megabytes << 9
        last = errors.rpartition("\n")[2][:200]   # Python 3.13 may lack the memory to write that
        if code == -signal.SIGXCPU:
            return "timeout", f"more than {seconds:g} s of CPU"
        if (last.startswith("MemoryError") or large and "MemoryError" in errors if code > 0 else
                large and code == -signal.SIGKILL):
            return "memory", f"more than {megabytes} MB"
        if code:
            return "crashed", last if code > 0 and last else f"exit status {code}"
        return "passed", ""

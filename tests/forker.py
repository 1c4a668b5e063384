"""Runs programs in forks of one process that has imported torch: 0.1 s a start instead of 4.

Reads orders from stdin and answers each with a line, both JSON; `Forker` asks.
An order is {"folder", "command", "stdout", "seconds", "points"}:

    command   ["train.py", ..], run in folder as a user runs it, to the very end of its interpreter
    stdout    the file that gets its output, or "|", a pipe that nobody reads; folder/err gets
              the errors
    seconds   after which it is killed, or null
    points    the file of file-system steps it was killed at so far: it dies at the next new one,
              before the step, in the midst of it or after it; or null
"""
import hashlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STEPS = [(os, "makedirs"), (os, "fsync"), (os, "replace"), (os, "remove"), (shutil, "rmtree")]


class Forker:
    """The process below, and what to ask it."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(ROOT, "tests", "forker.py")], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1",             # a fork has no thread pool
                 "PYTHONUNBUFFERED": ""})                          # what a user has: errors at exit

    def run(self, folder, *command, stdout="out", seconds=None, points=None):
        """(exit status, lines on stderr beside progress bars, seconds it took)."""
        order = dict(folder=str(folder), command=command, stdout=stdout, seconds=seconds,
                     points=points and str(points))
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        lines = [line.split("\r")[-1] for line in (folder / "err").read_text().splitlines()]
        return (answer["code"], [x for x in lines if x.strip() and "/s]" not in x and
                                 "/s," not in x and "s/it" not in x], answer["seconds"])


# ---- the process that forks ---------------------------------------------------------------------
def die():
    os.kill(os.getpid(), signal.SIGKILL)


def half_done(name: str, path):
    """Leaves what a step in the midst leaves: half of a file, a folder that lacks a file."""
    if name == "fsync":
        os.truncate(path, os.path.getsize(path) // 2)
    elif name == "rmtree":
        os.unlink(os.path.join(path, sorted(os.listdir(path))[0]))


def digest(path) -> str:
    return hashlib.sha256(open(path, "rb").read()).hexdigest() if os.path.isfile(path) else ""


def watch(module, name: str, points: str):
    """From now on module.name kills at points that are new: (step, its file, its content, when)."""
    real = getattr(module, name)

    def watched(what, *rest, **options):
        path = f"/proc/self/fd/{what}" if name == "fsync" else what
        known = open(points).read().splitlines()
        point = f"{name} {os.path.basename(os.path.realpath(path))} {digest(path)}"

        def look(when):
            if f"{point} {when}" not in known:
                with open(points, "a") as file:
                    print(f"{point} {when}", file=file)
                if when == "midst":
                    half_done(name, path)
                die()

        if os.path.exists(path) or name == "makedirs":       # else the step changes nothing
            if name != "fsync":
                look("before")
            if name in ("fsync", "rmtree"):
                look("midst")
            real(what, *rest, **options)
            if name != "fsync":                    # what is whole is killed before its `replace`
                look("after")
    setattr(module, name, watched)


def become(order: dict):
    """The program of the order, in this process. Its end is this process's end."""
    os.chdir(order["folder"])
    if order["stdout"] == "|":
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open(order["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(os.open("err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    for module, name in STEPS if order["points"] else ():
        watch(module, name, order["points"])
    sys.argv = order["command"]
    sys.path[0] = ROOT
    program = order["command"][0]
    if program.endswith(".py"):
        runpy.run_path(os.path.join(ROOT, program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def wait(pid: int, seconds: float | None) -> int:
    """Exit status; -9 where it was killed."""
    end = time.monotonic() + (seconds or 600)
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            end += 600
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(done[1])


def main():
    sys.path.insert(0, ROOT)
    import sample, train                            # noqa: E401, F401  (with all they import)
    for line in sys.stdin:
        order, start = json.loads(line), time.monotonic()
        if not (pid := os.fork()):
            return become(order)
        code = wait(pid, order["seconds"])
        print(json.dumps({"code": code, "seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    main()

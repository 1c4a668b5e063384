"""Do the assignments work? For each of them, out of a handout that is made for it and thrown away:

    python assignments/check.py            # all: half a minute on one core
    python assignments/check.py 7 9        # some

    1. its tests all fail in the handout, for want of the solution
    2. they all pass where it alone is solved: no assignment waits for another one
    3. they find every mistake in mutants.py

Each of some hundred test runs is a fork of one process that has imported torch and transformers;
a start costs a tenth of a second so, and not four.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from utils.cli import run_program

import gc
import importlib.abc
import importlib.util
import json
import signal
import tempfile
import time
from pathlib import Path

import make
from mutants import MUTANTS
from utils.errors import UserError
from utils.options import Parser

SECONDS = 120        # ours: a test run that takes longer hangs; the longest takes 4, alone
PACKAGES = ("baselines", "demos", "experiment", "grading", "report", "utils")
KEPT = ("__main__", "utils.cli", "utils.errors", "utils.options")         # this program uses them
TYPOS = {"NameError", "SyntaxError", "IndentationError"}        # no student's mistake runs into it


# ---- what belongs to an assignment --------------------------------------------------------------
def marked_files(number: int) -> list[str]:
    """The test files with tests of an assignment."""
    mark, folder = f"pytest.mark.assignment_{number}\n", os.path.join(ROOT, "tests")
    return [f"tests/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".py")
            and mark in open(os.path.join(folder, name), encoding="utf-8").read()]


def cut_files() -> dict[str, str]:
    """path -> text of every file with a cut."""
    texts = {path: Path(ROOT, path).read_text(encoding="utf-8")
             for path in make.sources() if path.endswith(".py") and not path.startswith("tests/")}
    return {path: text for path, text in texts.items() if make.cuts(text)}


def mutated(files: dict[str, str], number: int, old: str, new: str) -> dict[str, str]:
    """The one file with the mistake in it. Raises UserError: the place is gone, or is not alone."""
    bodies = [(path, body) for path, text in files.items() for cut in make.cuts(text)
              if cut.number == number and old in (body := make.body(text, cut))]
    if len(bodies) != 1 or bodies[0][1].count(old) != 1:
        raise UserError(f"mutants.py, assignment {number}: not found exactly once: {old!r}")
    (path, body), = bodies
    return {path: files[path].replace(body, body.replace(old, new))}


# ---- one run of tests in a fork -----------------------------------------------------------------
def warm():
    """Imports what the tests import, then forgets what is ours: each fork imports its own."""
    import pytest, torch                                                # noqa: E401, F401
    sys.path.insert(0, os.path.join(ROOT, "tests"))
    for number in make.tasks():
        for path in marked_files(number):
            importlib.import_module(os.path.basename(path)[:-3])
    ours = {ROOT, *(os.path.join(ROOT, name) for name in ("tests", *PACKAGES))}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if os.path.dirname(file) in ours and name not in KEPT:
            del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path not in ours]
    gc.collect()
    gc.freeze()                                 # pytest collects garbage twice: half of its time


class Watch:
    """A pytest plugin: which tests passed, and by which exception the others failed."""

    def __init__(self):
        self.passed, self.failed = [], {}

    def pytest_runtest_makereport(self, item, call):
        if call.excinfo:
            self.failed[item.name] = call.excinfo.typename
        elif call.when == "call":
            self.passed.append(item.name)


class Texts(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports these modules from their changed texts, whichever module asks for them first."""

    def __init__(self, root: str, changed: dict[str, str]):
        self.root = root
        self.texts = {path.removesuffix(".py").replace("/", "."): text
                      for path, text in changed.items()}

    def find_spec(self, name, path, target=None):
        if name not in self.texts:
            return None
        file = os.path.join(self.root, *name.split(".")) + ".py"
        return importlib.util.spec_from_file_location(name, file, loader=self)

    def get_source(self, name):
        return self.texts[name]


def run_tests(root: str, number: int, changed: dict[str, str], first: bool) -> dict:
    """In this process, for good: the tests of an assignment, with other texts of some files.

    first: stop at the first failure.
    """
    import pytest
    os.chdir(root)
    sys.path.insert(0, root)
    sys.meta_path.insert(0, Texts(root, changed))
    watch = Watch()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-m", f"assignment_{number}",
                        *["-x"] * first, *marked_files(number)], plugins=[watch])
    return {"code": int(code), "passed": watch.passed, "failed": watch.failed}


def forked(*what) -> dict:
    """`run_tests` in a fork that is silent; a fork that dies says nothing."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        signal.alarm(SECONDS)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        try:
            os.write(writer, json.dumps(run_tests(*what)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text or '{"code": -1, "passed": [], "failed": {}}')


def told(seen: dict) -> str:
    died = f"died, or took more than {SECONDS} s"
    return died if seen["code"] < 0 else str(seen["failed"] or "every test passed")


# ---- the check ----------------------------------------------------------------------------------
def check(number: int, folder: str, files: dict[str, str]) -> list[str]:
    """What is wrong with an assignment; prints its line."""
    start, wrong, title = time.monotonic(), [], make.tasks()[number]["title"]
    empty = forked(folder, number, {}, False)
    wrong += [f"passes in the handout: {name}" for name in empty["passed"]]
    wrong += [f"fails in the handout by {error}: {name}" for name, error in empty["failed"].items()
              if error != "NotImplementedError"]
    if not empty["failed"]:
        wrong.append("no marked test fails in the handout")
    alone = {path: make.blank(path, text, number) for path, text in files.items()}
    solved = forked(folder, number, alone, False)
    if solved["code"]:
        wrong.append(f"does not pass where it alone is solved: {told(solved)}")
    mistakes = [(name, mutated(files, number, old, new))
                for n, name, old, new in MUTANTS if n == number]
    found = 0
    for name, changed in mistakes:
        seen = forked(ROOT, number, changed, True)
        if seen["code"] == 1 and not TYPOS & set(seen["failed"].values()):
            found += 1
        else:
            wrong.append(f"not found: {name} ({told(seen)})")
    print(f"{number:2}  {title:52} {len(solved['passed']):3} tests, {found:2} of "
          f"{len(mistakes):2} mistakes found, {time.monotonic() - start:4.1f} s",
          *(f"    {line}" for line in wrong), sep="\n", flush=True)
    return wrong


def main():
    parser = Parser(description="Check the assignments.")
    parser.add_argument("numbers", nargs="*", type=int, help="of assignments (all)")
    numbers, there = parser.parse_args().numbers, make.tasks()
    if not set(numbers) <= set(there):
        raise UserError(f"there are assignments {', '.join(map(str, there))}")
    os.environ["OMP_NUM_THREADS"] = "1"                         # a fork has no pool of threads
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"          # others' plugins, slow to import
    files = cut_files()
    warm()
    with tempfile.TemporaryDirectory() as above:
        folder = os.path.join(above, "a hand out")                        # a name with spaces
        make.handout(folder)
        wrong = [line for number in numbers or there for line in check(number, folder, files)]
    if wrong:
        raise UserError(f"faults: {len(wrong)}")


if __name__ == "__main__":
    run_program("check.py", main)

import hashlib
import os
import runpy
import signal
import sys

import pytest

# One thread, here and in every process that a test starts: the tensors are small, two threads wait
# for each other longer than they work, and their sums differ in the last bit from one's.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"                       # a test never waits for a hub

import torch

from forker import ROOT, Forker

sys.path.insert(0, ROOT)
torch.manual_seed(0)
signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell's background run ignores it

SHORT = ["--styles", "cot,direct", "--pool", "2", "--pool-problems", "4", "--problems", "6",
         "--samples", "2", "--arms", "3", "--bandit-steps", "20", "--linucb-steps", "2",
         "--token-problems", "20", "--iterations", "12", "--batch", "16", "--test-problems", "3",
         "--test-samples", "2"]


def execute(program):
    """A file of this repository, such as train.py, or a module, such as demos.regret."""
    if program.endswith(".py"):
        runpy.run_path(os.path.join(ROOT, program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__")


def command_of(program):
    """How a new interpreter starts it, with this repository in its PYTHONPATH."""
    program = [os.path.join(ROOT, program)] if program.endswith(".py") else ["-m", program]
    return [sys.executable, *program]


def hashes(folder):
    return {name: hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest()
            for name in sorted(os.listdir(folder))}


@pytest.fixture(scope="session")
def lm():
    from lm import LM
    return LM.load("tiny", device="cpu")


@pytest.fixture(scope="session")
def forker():
    forker = Forker()
    yield forker
    forker.process.communicate()


@pytest.fixture(scope="session")
def finish(forker):
    """Runs a program in a folder: (exit status, stdout, stderr)."""
    def finish(program, *arguments, folder):
        code = forker.run(folder, program, *arguments)[0]
        return code, (folder / "out").read_text(), (folder / "err").read_text()
    return finish


@pytest.fixture(scope="session")
def unbroken(finish, tmp_path_factory):
    """The folder, with a space in its name, of a finished run runs/sums, and what it printed.

    Its progress is in the folder's file log.
    """
    folder = tmp_path_factory.mktemp("a user")
    code, out, err = finish("train.py", *SHORT, "--tables", folder=folder)
    assert code == 0, err
    (folder / "log").write_text(err)
    return folder, out

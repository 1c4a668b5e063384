"""Other systems, as far as Linux can play them: Windows without its Unix modules, consoles that
lack letters, devices that know no float64 (mps). Nothing here has run on a real one."""
import ctypes
import glob
import importlib
import io
import os
import struct
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from decode import rollout
from pomdp import TokenPolicy, ppo_update
from utils.cli import run_program
from utils.random_streams import prompt_key

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = ("utils", "grading", "experiment", "baselines", "report", "demos")
MODULES = [os.path.relpath(x, ROOT)[:-3].replace(os.sep, ".").removesuffix(".__init__")
           for pattern in ("*.py", *(f"{name}/*.py" for name in PACKAGES))
           for x in glob.glob(f"{ROOT}/{pattern}") if "adapter.py" not in x]


@pytest.fixture
def windows(monkeypatch):
    """All of our modules, imported anew where there is nothing that Windows lacks."""
    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("fork", "getuid", "killpg", "sysconf", "chroot", "statvfs", "O_DIRECTORY"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(os, "O_TEMPORARY", 0, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    modules = {name: importlib.import_module(name) for name in MODULES}
    yield modules
    for name in MODULES:
        sys.modules.pop(name, None)


def test_on_windows_every_file_is_imported_and_a_run_has_its_folder(windows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, config = windows["experiment.run"], windows["experiment.config"].Config(name="a b")
    part, final = run.open_folder(config, resume=False)
    with pytest.raises(windows["utils.errors"].UserError, match="another process is writing"):
        run.lock_folder(part)
    assert not [x for x in os.listdir(part) if "lock" in x]       # an open file would stop a rename
    run.close_folder(part, final)
    assert vars(run.read_config(final)) == vars(config)


def test_on_windows_the_kernel_tells_how_much_memory_is_free(windows, monkeypatch):
    def tell(status):
        assert struct.unpack_from("I", status)[0] == len(status)
        struct.pack_into("Q", status, 16, 5 << 30)        # ullAvailPhys of MEMORYSTATUSEX

    kernel = SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=tell))
    monkeypatch.setattr(ctypes, "windll", kernel, raising=False)
    assert windows["utils.memory"].free_memory("cpu") == 5 << 30


def test_on_windows_a_program_is_neither_right_nor_wrong(windows, monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    verdict = windows["grading.sandbox"].run_tests("print(1)", [("", "1")], 1, 64)
    assert (verdict.status, verdict.reason) == (
        "unsupported", "limits on programs need Linux or macOS")
    assert windows["grading.sandbox"].isolation() == f"programs cannot be run: {verdict.reason}"
    with pytest.raises(windows["utils.errors"].UserError, match="programs cannot be run here"):
        windows["verify"].reward_of(verdict)


def test_a_console_that_lacks_a_letter_shows_another(monkeypatch):
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="cp1252"))
    run_program("x.py", lambda: print("12.0 ±0.3, 7₀+8₁"))
    assert data.getvalue().decode("cp1252").split("\n")[0].strip() == "12.0 ±0.3, 7?+8?"


class Types(TorchDispatchMode):
    """Keeps the types of all tensors that any operation makes."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.seen |= {x.dtype for x in torch.utils._pytree.tree_leaves(result)
                      if isinstance(x, torch.Tensor)}
        return result


def test_the_loop_and_the_token_policy_never_use_float64(lm):
    prompts, policy = ["7+8+5+9:", "3+4+5:"], TokenPolicy(lm.d, 12)
    with Types() as types:
        episodes = rollout(lm, [lm.encode(x) for x in prompts], partial(policy, explore=True),
                           torch.full((4,), 12),
                           torch.tensor([prompt_key(x) for x in prompts]), n=2)
        for i, x in enumerate(episodes):
            x.reward = float(i % 2)
        ppo_update(policy, torch.optim.Adam(policy.parameters()), episodes, 0, 0.01)
    assert torch.float32 in types.seen and torch.float64 not in types.seen

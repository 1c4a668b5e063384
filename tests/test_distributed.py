"""Several processes end with what one process ends with, whatever dies on the way."""
import io
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from baselines.lpo import lpo_update
from decode import Episode, Strategy, static
from experiment.reward_table import Arm, embed_prompts, sample_policy, sample_static
from pomdp import TokenPolicy, ppo_update, reinforce_update
from utils import distributed
from utils.cli import run_program
from utils.errors import UserError
from utils.files import append_csv, exists, write
from conftest import ROOT, SHORT
from test_train import start

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
LINE = "train.py: another process of this run has ended"
FEW = [*SHORT, "--budgets", "18,30"]                           # of five: this is about processes
GOES_ON = "the same command with --resume goes on"


def train(*arguments, folder):
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, os.path.join(ROOT, "train.py"), *FEW, *arguments], cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait(process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def kill_when(process, path, rank: int) -> str:
    """kill -9 of one worker as soon as the file is there; what the run then says."""
    while not path.exists() and process.poll() is None:
        time.sleep(0.02)
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        workers = [int(x) for x in file.read().split()]
    for worker in workers:
        with open(f"/proc/{worker}/environ") as file:
            if f"RANK={rank}" in file.read().split("\0"):
                os.kill(worker, signal.SIGKILL)
    killed = time.time()
    code, _, err = wait(process)
    assert code != 0 and time.time() - killed < 10
    return err


def assert_same(a, b):
    """Files, reward tables and adapters of two runs."""
    assert sorted(os.listdir(a)) == sorted(os.listdir(b))
    with np.load(a / "rewards.npz") as x, np.load(b / "rewards.npz") as y:
        assert set(x.files) == set(y.files)
        for name in x.files:                     # rewards alike; embeddings but for roundings
            near = 1e-5 if name.endswith("embeddings") else 0
            assert np.allclose(x[name], y[name], rtol=0, atol=near), name
    for file in (x for x in os.listdir(a) if x.endswith(".safetensors")):
        x, y = (load_file(folder / file) for folder in (a, b))
        for name in x:
            assert np.abs(x[name] - y[name]).max() < 1e-5, (file, name)
    lines = [(folder / "metrics.csv").read_text().splitlines() for folder in (a, b)]
    assert len(lines[0]) == len(lines[1])
    for one, two in zip(*lines):
        for x, y in zip(one.split(","), two.split(",")):
            assert x == y or abs(float(x) - float(y)) < 1e-4, (one, two)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process; beside it, for the second core, two, of which one is killed on the way."""
    folder, other = (tmp_path_factory.mktemp(name) for name in ("alone", "pair"))
    one, two = start("train.py", *FEW, folder=folder), train(folder=other)
    killed = kill_when(two, other / "runs" / "sums.part" / "token-0.checkpoint", 0)
    again = train("--resume", folder=other)
    (code, text, err), (code2, text2, err2) = wait(one), wait(again)
    assert code == 0 and code2 == 0, err + err2
    return folder / "runs" / "sums", other / "runs" / "sums", text, text2, killed, err2


def test_two_processes_end_with_the_files_of_one_and_only_the_first_speaks(alone):
    one, two, text, text2, killed, err2 = alone
    assert_same(one, two)
    assert killed.count(LINE) == 1 and GOES_ON in killed
    without_memory = [x.splitlines()[1:] for x in (text, text2)]              # what is free, moves
    assert without_memory[0] == without_memory[1]
    assert err2.count("4/6 token, seed 0: 100%") == 1


def test_what_two_processes_began_before_one_was_killed_one_ends_alike(alone, tmp_path, finish):
    part = tmp_path / "runs" / "sums.part"
    err = kill_when(train(folder=tmp_path), part / "token-0.checkpoint", 1)
    assert err.count(LINE) == 1 and GOES_ON in err
    code, _, err = finish("train.py", *FEW, "--resume", folder=tmp_path)
    assert code == 0, err
    assert_same(alone[0], tmp_path / "runs" / "sums")


STOPPED = """
import os, signal, time
from utils import distributed
from utils.cli import run_program

def main():
    with distributed.process_group(""):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(9)

run_program("program", main, "stopped; go on")
"""


def test_sigterm_is_one_line_without_a_traceback():
    process = subprocess.Popen([sys.executable, "-c", STOPPED], cwd=ROOT, stderr=subprocess.PIPE,
                               text=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err == "program: stopped; go on\n"


def made_episodes(counts, rewards):
    """Of counts[i] decisions each; half of them are one prompt's, half another's."""
    torch.manual_seed(1)
    episodes = []
    for i, (F, r) in enumerate(zip(counts, rewards)):
        e, h, f = torch.randn(6), torch.randn(F, 6), torch.rand(F, 4)
        action = torch.randint(4, (F,)).to(torch.int8)
        episodes.append(Episode(int(i >= len(counts) // 2), 0, 30, torch.zeros(F), True, e, action,
                                torch.arange(F), torch.full((F,), .25).log(), h, f, r))
    return episodes


def learn(update, episodes):
    """(the parameters after three updates, their diagnostics)."""
    torch.manual_seed(0)
    policy = TokenPolicy(6, 30)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3, eps=1e-5)
    logs = [update(policy, optimizer, episodes, seed, .01) for seed in range(3)]
    return [p.detach() for p in policy.parameters()], logs


def lpo(policy, optimizer, episodes, seed, _):
    return lpo_update(policy, optimizer, episodes, seed)


CASES = [(update, *case) for update in (ppo_update, reinforce_update, lpo) for case in (
    ((20, 9, 25, 8, 29), (1., 0., 0., 1., 1.)),                 # 91 decisions: one minibatch
    ((0, 0, 25, 0, 0), (1., 0., 1., 1., 1.)),                   # one process has none
    ((0, 0, 0, 0, 0), (1., 0., 1., 1., 1.)),
    ((29,) * 20, (1., 0., 0., 1., 1.) * 4))]                    # 580: three minibatches


def fails():
    raise UserError(f"told by {distributed.rank()}")


def check_gather():
    for count in (0, 1, 2, 3, 10):
        own = np.arange(count)[distributed.share(count)]
        assert distributed.gather(own).tolist() == list(range(count)), count
        assert distributed.gather(torch.tensor(own)).tolist() == list(range(count)), count
        assert distributed.gather_list(own.tolist()) == list(range(count)), count


def check_main_process_first(me, folder):
    assert distributed.main_process_first(lambda: me) == 0
    assert distributed.main_process_first(lambda: distributed.main_process_first(lambda: me)) == 0
    with pytest.raises(UserError, match="told by 0"):
        distributed.main_process_first(fails)
    with pytest.raises(UserError, match="told by 0"):
        distributed.main_process_first(lambda: distributed.main_process_first(fails))
    assert not distributed.inside_main_process_first
    # Files: what rank 0 writes is there when the others go on, also from within main_process_first
    path = str(folder / "file")
    assert not exists(path)
    write(path, f"of {me}")
    assert exists(path) and open(path).read() == "of 0"
    distributed.gather(np.zeros(0))                             # all have read it
    distributed.main_process_first(lambda: write(path, f"again of {me}"))
    assert open(path).read() == "again of 0"
    append_csv(path + ".csv", {"seed": me}, [{"step": 1}])
    append_csv(path + ".csv", {"seed": me}, [{"step": 2}])
    assert open(path + ".csv").read() == "seed,step\n0,2\n"
    with pytest.raises(UserError, match="cannot write .*: No such file or directory"):
        write(str(folder / "missing" / "file"), "")


def together(alone, folder):
    """Run by two processes; alone: what one process learns in each of CASES."""
    with distributed.process_group("try again"):
        me = distributed.rank()
        assert distributed.size() == 2
        check_gather()
        check_main_process_first(me, folder)
        for (update, *case), (parameters, logs) in zip(CASES, alone):
            episodes = made_episodes(*case)
            mine = episodes[distributed.share(len(episodes))]
            again, logs2 = learn(update, distributed.gather_list(mine))
            assert all(torch.equal(a, b) for a, b in zip(parameters, again)), (update, case)
            assert logs == logs2, (update, case)
        print("all is well")
        if me == 1:
            raise UserError("only here")
        distributed.gather(torch.zeros(1))                      # waits for the other one


def member(me, port, folder, alone):
    os.environ.update(RANK=str(me), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=str(port))
    torch.set_num_threads(1)                          # a forked process has no pool of threads
    sys.stdout, sys.stderr = (open(folder / f"{name}{me}", "w") for name in ("out", "err"))
    run_program("program", lambda: together(alone, folder))


def test_what_processes_do_together_and_an_error_of_one_of_them_is_seen_once(tmp_path):
    alone = [learn(update, made_episodes(*case)) for update, *case in CASES]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")                # nothing is imported a second time
    members = [fork.Process(target=member, args=(me, port, tmp_path, alone)) for me in range(2)]
    for process in members:
        process.start()
    for process in members:
        process.join(60)
    told = {name: (tmp_path / name).read_text() for name in ("out0", "out1", "err0", "err1")}
    assert told == {"out0": "all is well\n", "out1": "", "err0": "",
                    "err1": "program: only here\n"}
    assert [process.exitcode for process in members] == [1, 1]


def test_a_view_is_pickled_alone_and_every_dtype_comes_back():
    whole = torch.arange(100_000.)
    views = [whole[5:9], whole[:0], torch.tensor(True), whole[:6].view(2, 3).T,
             whole[3:5].bfloat16(), torch.zeros(2, 0, dtype=torch.int8)]
    buffer = io.BytesIO()
    distributed.CompactPickler(buffer).dump(views)
    assert len(buffer.getvalue()) < 2000
    for ours, theirs in zip(views, pickle.loads(buffer.getvalue())):
        assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape


def test_one_process_has_all_and_pays_nothing():
    assert (distributed.rank(), distributed.size(), distributed.share(7)) == (0, 1, slice(0, 7))
    x = np.arange(3)
    assert distributed.gather(x).tolist() == [0, 1, 2]
    assert distributed.main_process_first(lambda: 5) == 5


@pytest.mark.parametrize("count", [5, 1])                   # of 1 problem, one share is empty
def test_shares_of_sampling_are_the_parts_of_the_whole(lm, count, monkeypatch):
    """Every row has a strategy of its own, and the length of its text as its reward."""
    task = types.SimpleNamespace(runs_programs=False, budgets=(18, 30), chat=False, thinking=False,
                                 styles={"": None}, prompt=lambda p, style: p,
                                 grade=lambda text, p, truncated: len(text))
    problems = [f"{i}+8+5+9+7+6:" for i in range(3, 3 + count)]
    strategies = torch.tensor([[0.4 * i, 0, 1, 0] for i in range(count * 2)])
    hot = Arm("", Strategy(1.25))

    def policy_at(t, part):
        return problems[part], static(strategies[2 * part.start:2 * part.stop])

    def sampled():
        return (sample_policy(lm, task, problems, policy_at, 2, 0, 64),
                sample_static(lm, task, problems, hot, 2, 0, 64),
                embed_prompts(lm, task, problems, "", 64).numpy())

    whole, parts = sampled(), []
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "gather", lambda part: part)
    for me in range(2):
        monkeypatch.setattr(distributed, "rank", lambda: me)
        parts.append(sampled())
    for all_of_it, *shares in zip(whole, *parts):
        assert [len(x) for x in shares] == [count // 2, count - count // 2]
        assert np.allclose(all_of_it, np.concatenate(shares), atol=1e-5)

"""The main job as a user runs it: seeds, interruptions, mistakes."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import lm
from bandit import SoftmaxBandit, pass_at
from conftest import ROOT, SHORT, execute, hashes
from demos.pull import logit_gradient
from demos.replay import run_tables
from experiment.adapters import load_adapter, save_adapter
from experiment.bandit_tables import BanditTables
from experiment.config import parse
from experiment.load import load
from experiment.run import lock_folder, read_config
from features import context_size
from pomdp import TokenPolicy
from utils.cli import check_options, run_program
from utils.errors import OptionError, UserError


def start(program, *arguments, folder):
    return subprocess.Popen([sys.executable, os.path.join(ROOT, program), *arguments], cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_whole_path_prints_its_tables_and_names_its_files_and_the_next_command(unbroken):
    folder, out = unbroken
    text = (folder / "runs" / "sums" / "results.txt").read_text()
    for row, tables in (("greedy ", 5), ("best static ", 5), ("mixed static ", 5), ("LinUCB ", 4),
                        ("softmax bandit ", 6), ("oracle per prompt (estimate) °", 2),
                        ("arm: ", 10), ("token level ", 3), ("both levels ", 2),
                        ("scripted oracle °", 1)):
        assert sum(line.startswith(row) for line in text.splitlines()) == tables, row
    assert "memory" in out.splitlines()[0] and "reward" in out.splitlines()[3]
    assert out.splitlines()[-1].startswith("next: ./run sample.py")
    assert text.strip() in out
    log = (folder / "log").read_text()
    for i, stage in enumerate(("reward table", "action sets", "softmax cot", "token, seed 0",
                               "both levels", "held-out problems"), start=1):
        assert f"\n{i}/6 {stage}" in log.replace("\r", "\n"), stage
    assert "run_left=" in log
    files = set(os.listdir(folder / "runs" / "sums"))
    assert files == {"README.md", "config.json", "metrics.csv", "results.json", "rewards.npz",
                     "selection.json", "tokens.csv", "lengths.csv", "choices.csv",
                     "generations.json", "comparison.json", "results.txt", "report.html",
                     "token-0.safetensors", "both-cot+direct-0.safetensors",
                     *(f"{kind}-{styles}-0.safetensors" for kind in ("softmax", "linucb")
                       for styles in ("cot", "cot+direct"))}


def test_progress_in_a_file_is_a_few_lines(unbroken):
    bars = [line.count("\r") for line in (unbroken[0] / "log").read_text().splitlines()]
    assert len(bars) > 8 and max(bars) < 12 and sum(bars) < 4 * len(bars)


def test_paths_may_hold_spaces(tmp_path):
    shutil.copytree(lm.TINY, tmp_path / "a model")
    path = tmp_path / "my problems.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i}?", "answer": f"#### {i}"}) + "\n"
                            for i in range(9)))
    where = [str(tmp_path / "a model"), str(path)]
    model, task = load(parse(["--model", where[0], "--task", "gsm8k", "--data", where[1]])[0])
    assert model.name == "a model" and task.train


def test_a_quick_run_never_takes_the_place_of_a_longer_one():
    names = [parse(argv)[0].name for argv in ([], ["--quick"], ["--quick", "--name", "mine"])]
    assert names == ["", "quick", "mine"]


def test_nothing_is_written_where_no_folder_can_be_made(tmp_path, finish):
    (tmp_path / "runs").write_text("a file")
    code, _, err = finish("train.py", *SHORT, folder=tmp_path)
    assert code == 1 and err.splitlines()[-1].startswith("train.py: cannot make runs/sums.part: ")


def test_ctrl_c_leaves_a_checkpoint_and_resume_ends_with_the_same_files(unbroken, tmp_path, finish):
    process = start("train.py", *SHORT, folder=tmp_path)
    checkpoint = tmp_path / "runs" / "sums.part" / "token-0.checkpoint"
    for _ in range(1200):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.strip().endswith("--resume goes on")
    assert checkpoint.exists() and not (tmp_path / "runs" / "sums").exists()
    code, _, err = finish("train.py", *SHORT, folder=tmp_path)
    assert code == 1 and "unfinished run" in err
    code, _, err = finish("eval.py", "runs/sums.part", folder=tmp_path)
    assert code == 1 and "is unfinished" in err
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:1000])
    code, _, err = finish("train.py", *SHORT, "--resume", folder=tmp_path)
    assert code == 1 and err.strip().splitlines()[-1].endswith("--resume makes it again")
    checkpoint.write_bytes(whole)
    code, _, err = finish("train.py", *SHORT, "--seed", "1", "--resume", folder=tmp_path)
    assert code == 1 and "was started with --seed 0" in err
    code, _, err = finish("train.py", *SHORT, "--resume", folder=tmp_path)
    assert code == 0, err
    assert hashes(tmp_path / "runs" / "sums") == hashes(unbroken[0] / "runs" / "sums")
    code, out, _ = finish("train.py", *SHORT, "--resume", folder=tmp_path)
    assert code == 0 and out.splitlines()[-1] == "runs/sums is finished"


def test_eval_and_decode_read_the_run(unbroken, finish):
    folder, out = unbroken
    before = hashes(folder / "runs" / "sums")
    code, table, err = finish("eval.py", "runs/sums", folder=folder)
    assert code == 0 and table.strip() in out, err
    assert hashes(folder / "runs" / "sums") == before
    code, table, err = finish("eval.py", "runs/sums", "--parallel", "2", folder=folder)
    assert code == 0 and ". Pass@2 in %" in table and ". Pass@1 in %" not in table, err
    code, _, err = finish("eval.py", "runs/sums", "--parallel", "4", folder=folder)
    assert code == 1 and "--parallel of this run: 1, 2" in err
    code, text, err = finish("sample.py", "7+8+5+9:", "--budget", "20", folder=folder)
    assert code == 0 and text.startswith("7+8+5+9:") and "legend: greedy" in text, err
    # A prompt without its colon, and one with a colon and a first step, which is fine
    code, text, err = finish("sample.py", "7+8+5+9", "--budget", "20", folder=folder)
    assert code == 0 and "\nnote: the run's own prompts end otherwise" in text, err
    code, text, err = finish("sample.py", "7+8+5+9:7+8=15;", "--budget", "20", folder=folder)
    assert code == 0 and text.startswith("7+8+5+9:7+8=15;") and "note: the run's" not in text, err
    code, text, err = finish(*out.splitlines()[-1].split()[2:], folder=folder)      # "next: .."
    assert code == 0 and text.count("the right answer is ") == 4 == text.count(" of 30 tokens"), err


def test_two_processes_never_write_one_run(tmp_path):
    lock_folder(str(tmp_path))
    with pytest.raises(UserError, match="another process"):
        lock_folder(str(tmp_path))


def test_an_adapter_says_its_width_and_an_older_file_has_the_width_of_then(lm, tmp_path):
    path = str(tmp_path / "adapter.safetensors")
    arms = [["cot", [0.0, 0, 1.0, 0.0], False]] * 3
    inputs = context_size(lm.d, ("prompt",))
    for kind, about, build in (
            ("token", {"horizon": 30, "parts": ["hidden"]},
             lambda **width: TokenPolicy(lm.d, 30, ["hidden"], **width)),
            ("softmax", {"arms": arms, "parts": ["prompt"]},
             lambda **width: SoftmaxBandit(inputs, 3, **width))):
        for saved, told in ((build(width=16), {"width": 16}), (build(), {})):
            save_adapter(path, saved.state_dict(), kind, lm, **about, **told)
            again, _ = load_adapter(path, lm)
            assert again.width == saved.width
            assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), again.parameters()))
    narrow = TokenPolicy(lm.d, 30, ["hidden"], top_k=2)
    save_adapter(path, narrow.state_dict(), "token", lm, horizon=30, parts=["hidden"], top_k=2)
    assert torch.equal(load_adapter(path, lm)[0].strategies, narrow.strategies)


def test_a_replay_with_the_same_settings_ends_with_the_same_bandits(unbroken, finish):
    folder, out = unbroken
    before = hashes(folder / "runs" / "sums")
    code, table, err = finish("demos.replay", "runs/sums", folder=folder)
    rows = [line for line in table.splitlines() if line.startswith(("softmax bandit", "LinUCB"))]
    assert code == 0 and len(rows) == 4 and all(row in out.splitlines() for row in rows), err
    assert hashes(folder / "runs" / "sums") == before


def test_a_replay_from_a_file_is_that_of_its_run(unbroken, finish, monkeypatch, tmp_path):
    folder, out = unbroken
    monkeypatch.chdir(folder)
    config = read_config("runs/sums")
    run_tables("runs/sums", config).save(str(tmp_path / "few.npz"))
    code, table, err = finish("demos.replay", str(tmp_path / "few.npz"), "--steps",
                              str(config.bandit_steps), folder=folder)
    rows = [line for line in table.splitlines() if line.startswith("softmax bandit")]
    assert code == 0 and len(rows) == 2 and all(row in out.splitlines() for row in rows), err
    # Fewer problems end with another bandit
    code, other, _ = finish("demos.replay", str(tmp_path / "few.npz"), "--steps",
                            str(config.bandit_steps), "--problems", "1", folder=folder)
    assert code == 0 and other != table
    code, _, err = finish("demos.replay", "runs/sums/rewards.npz", folder=folder)
    assert code == 1 and "holds no tables of bandits" in err


def test_a_pull_is_shown_with_its_rewards_and_its_gradient(unbroken, finish):
    folder, _ = unbroken
    with np.load(folder / "runs/sums/rewards.npz") as file:
        arrays = {name.split(" ", 2)[2]: file[name] for name in file.files
                  if name.startswith("train 0-")}
    # The problem that the arms solve more often at T = 44 than at 18
    solved = np.stack(list(arrays.values())).mean((0, 2))                               # (P, T)
    i = int((solved[:, 4] - solved[:, 0]).argmax())
    assert solved[i, 4] > solved[i, 0]

    def table_of_pull(T: str) -> list[tuple[str, ...]]:
        code, out, err = finish("demos.pull", "runs/sums", "--problem", str(i), "--budget", T,
                                "--parallel", "2", folder=folder)
        assert code == 0, err
        row = r"(.+?) +(\d+) of (\d+) right +(\S+) +(\S+) +(\S+) +(\S+) +\S+ \+ \S+"
        lines = out[out.index("arm s"):].strip().splitlines()[1:]
        return [re.fullmatch(row, line).groups() for line in lines]

    shares, shares_18, changes = [], [], []
    rows = table_of_pull("44")
    for arm, right, n, share, pi, pi_18, change in rows:
        rewards = arrays[arm][i, :, 4]
        assert (int(right), int(n)) == (rewards.sum(), len(rewards))
        assert abs(float(share) - pass_at(rewards, 2)) < .006
        shares.append(float(pi))
        shares_18.append(float(pi_18))
        changes.append(float(change))
    assert len(rows) > 1 and abs(sum(shares) - 1) < .03 and abs(sum(changes)) < .03
    # pi at T = 18 is what a call for that budget shows
    assert shares_18 != shares
    assert shares_18 == [float(pi) for _, _, _, _, pi, _, _ in table_of_pull("18")]
    code, _, err = finish("demos.pull", "runs/sums", "--budget", "5", folder=folder)
    assert code == 1 and "--budget one of [18, 24, 30, 37, 44]" in err


def test_the_gradient_of_a_pull_is_that_of_autograd():
    logits = torch.tensor([.3, -1., 2.], requires_grad=True)
    (.7 * logits.log_softmax(0)[1]).backward()
    torch.testing.assert_close(logit_gradient(logits.softmax(0).detach(), 1, .7), logits.grad)


def test_the_decisions_of_a_completion_are_shown_with_their_advantages(unbroken, finish):
    folder, _ = unbroken
    code, out, err = finish("demos.decisions", "runs/sums", "--budget", "37", folder=folder)
    assert code == 0, err
    r = float(re.search(r"reward r = ([01])", out)[1])
    lines = out[out.index("token "):].strip().splitlines()[1:]
    rows = [line.rsplit(maxsplit=9)[1:] for line in lines]
    pi = np.array([row[1:5] for row in rows], float)
    v, delta, A = np.array([row[6:] for row in rows], float).T
    assert len(rows) > 1 and np.allclose(pi.sum(1), 1, atol=.03)
    names = ["greedy", "tau=0.5", "tau=1", "tau=1.25"]
    assert [row[5] for row in rows] == [names[k] for k in pi.argmax(1)]
    assert np.allclose(delta, np.append(v[1:], r) - v, atol=.011)
    assert np.allclose(A, delta + .95 * np.append(A[1:], 0), atol=.016)
    code, _, err = finish("demos.decisions", "runs/sums", "--problem", "3", folder=folder)
    assert code == 1 and "--problem is 0 to 2" in err


def test_the_token_level_alone_takes_every_baseline(finish, tmp_path):
    code, out, err = finish("demos.one_level", "token", *SHORT, "--budgets", "44", "--batch", "8",
                            "--iterations", "2", "--baselines", "--name", "few", folder=tmp_path)
    assert code == 0, err
    assert "AutoDeco" in out                       # its row, or that it found nothing to learn from
    rows = ("EDT", "LPO", "REINFORCE", "token level, entropy only",
            "token level, no budget", "token level", "scripted oracle")
    assert all(re.search(rf"^{row}\b", out, re.MULTILINE) for row in rows), out
    assert "Ablations of the token level" in out and "LinUCB" not in out


@pytest.mark.parametrize("name, contexts, arms", [("chains4", 400 * 3 * 6, 6),
                                                  ("chains1600", 1600 * 6, 4),
                                                  ("mbpp", 374 * 5, 4),
                                                  ("humaneval", 374 * 5, 4),
                                                  ("gsm8k", 200 * 6, 2)])
def test_the_real_llms_tables_can_be_replayed(name, contexts, arms):
    path = os.path.join(ROOT, f"reference/real/{name}-qwen2.5-coder-0.5b")
    tables = BanditTables.load(f"{path}.npz")
    x, reward = tables.problem()
    assert len(x) == len(reward) == contexts and reward.shape[1] == len(tables.arms) == arms
    text = open(f"{path}.txt").read()
    for (B, t), cell in tables.best_static_cells().items():
        shown = text.split("mixed styles")[1 + (B == 4)].split("\nbest static  ")[1].split("\n")[0]
        if B != 2:                               # the file has Pass@1 and Pass@4
            assert shown.split()[2 * t] == f"{100 * cell.mean():.1f}"


@pytest.mark.parametrize("command, says", [
    (["train.py", "--learning-rate", "3"], "--learning-rate"),
    (["train.py", "--iterations", "many"], "many"),
    (["train.py", "--budgets", "0,16"], "--budgets must be at least 1"),
    (["train.py", "--budgets", "16,x"], "--budgets takes whole numbers"),
    (["train.py", "--budgets", ""], "--budgets is empty"),
    (["report.page", "empty"], "empty is no finished run"),
    (["report.page", "part"], "part.part is unfinished"),
    (["train.py", "--learner", "dpo"], "--learner is one of ppo, reinforce, lpo"),
    (["train.py", "--batch", "0"], "--batch must be at least 1"),
    (["train.py", "--batch", "10"], "--batch must be a multiple"),
    (["train.py", "--seed", "5000"], "--seed must be"),
    (["train.py", "--task", "chess"], "unknown task"),
    (["train.py", "--task", "gsm8k"], "--data"),
    (["train.py", "--task", "gsm8k", "--data", "missing.jsonl"], "cannot read missing.jsonl"),
    (["train.py", "--model", "missing/folder"], "cannot load the model"),
    (["train.py", "--model", "empty"], "cannot load the model"),
    (["train.py", "--parts", "hidden,mood"], "--parts takes"),
    (["train.py", "--styles", "poem"], "not 'poem'"),
    (["train.py", "--styles", "cot,cot"], "each once"),
    (["train.py", "--name", "../elsewhere"], "--name"),
    (["train.py", "--device", "abacus"], "--device takes auto, cpu"),
    pytest.param(["train.py", "--device", "cuda"], "cannot use the device 'cuda'",
                 marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")),
    (["train.py", "--dtype", "int3"], "int3"),
    (["train.py", "--resume"], "nothing to resume"),
    (["train.py", "--quick", "--full"], "exclude"),
    (["train.py", "--lr", "nan"], "--lr must be above 0"),
    (["train.py", "--entropy", "inf"], "both finite"),
    (["eval.py", "missing"], "missing"),
    (["eval.py"], "folder"),
    (["eval.py", "missing", "--parallel", "1,x"], "--parallel takes whole numbers"),
    (["demos.replay", "missing"], "missing"),
    (["demos.replay", "missing.npz"], "there is no file missing.npz"),
    (["demos.ceiling", "missing"], "missing"),
    (["demos.ceiling", "missing", "--problems", "0"], "--problems"),
    (["demos.one_level", "token", "--loud"], "--loud"),
    (["demos.one_level", "--loud"], "which level"),
    (["demos.from_gguf", "empty"], "not overwritten"),
    (["sample.py", "7+8:", "--run", "missing"], "missing"),
    (["sample.py", "7+8:", "--loud"], "--loud"),
    (["demos.train_tiny", "--train", "x", "--steps", "0"], "--steps"),
    (["demos.observation", "7+8:", "--budget", "0"], "budget must be at least 1"),
    (["demos.observation", "hello:"], "does not know every character"),
    (["demos.regret", "--arms", "2"], "--arms"),
    (["demos.ppo_toy", "now"], "now"),
    (["demos.prompts", "now"], "now"),
    (["demos.verdicts", "1/2"], "the gold answer"),
    (["demos.bench", "--rows", "0"], "--rows must be above 0"),
])
def test_a_mistake_gets_one_line_and_a_failing_exit(command, says, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "part.part").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        execute(command[0])
    # Status 2 for options that are wrong in themselves; else a text, which Python prints: status 1
    message = capsys.readouterr().err if stop.value.code == 2 else stop.value.code
    assert says in message and len(message.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("program", ["train.py", "eval.py", "sample.py", "report.page",
                                     "demos.replay", "demos.regret", "demos.one_level"])
def test_an_unknown_option_ends_every_program_with_2(program, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [program, "--loud"])
    with pytest.raises(SystemExit) as stop:
        execute(program)
    assert stop.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1


def test_any_process_may_report_a_mistake_in_the_options_but_before_torch_only_rank_0(
        monkeypatch, capsys):
    def mistake():
        raise OptionError("--loud\nis none")

    monkeypatch.setenv("RANK", "1")
    for program, says in ((check_options, ""), (run_program, "x.py: --loud is none\n")):
        with pytest.raises(SystemExit) as stop:
            program("x.py", mistake)
        assert (stop.value.code, capsys.readouterr().err) == (2, says)


def test_decode_refuses_a_budget_of_0_and_prompts_it_cannot_read(unbroken, finish):
    for arguments in (["7+8:", "--budget", "0"], [""], ["hello:"]):
        code, _, err = finish("sample.py", *arguments, folder=unbroken[0])
        assert code == 1 and len(err.strip().splitlines()) == 1

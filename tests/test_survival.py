"""What outlives kill -9, a full disk, a closed pipe and damaged files: every run does."""
import json
import os
import random
import shutil
import signal
import subprocess

import pytest

from utils.errors import UserError
from experiment.config import Config
from experiment.run import close_folder, open_folder, read_config
from experiment.reward_table import RewardStore
from experiment.adapters import load_adapter
from utils.files import append_csv, read_json, write
from conftest import ROOT, SHORT, command_of, hashes

RUN = [*SHORT, "--budgets", "18,24", "--iterations", "11", "--batch", "4", "--samples", "1",
       "--test-samples", "1", "--arms", "2", "--test-problems", "2", "--styles", "cot"]
FILES = ["config.json", "rewards.npz", "selection.json", "metrics.csv",       # as they are written
         "softmax-cot-0.safetensors", "linucb-cot-0.safetensors", "token-0.checkpoint",
         "token-0.safetensors", "both-cot-0.safetensors", "tokens.csv", "lengths.csv",
         "generations.json", "choices.csv", "results.json"]
KILLED = -signal.SIGKILL


def train(forker, folder, **how):
    """As a user goes on: with --resume where an unfinished run lies."""
    resume = ["--resume"] * (folder / "runs" / "sums.part").exists()
    return forker.run(folder, "train.py", *RUN, *resume, **how)


@pytest.fixture(scope="module")
def unbroken(forker, tmp_path_factory):
    """A finished run's folder, the hashes of its files, the seconds it took."""
    folder = tmp_path_factory.mktemp("unbroken")
    code, errors, seconds = train(forker, folder)
    assert code == 0, errors
    return folder / "runs" / "sums", hashes(folder / "runs" / "sums"), seconds


# ---- kill -9 ------------------------------------------------------------------------------------
def test_after_20_kills_at_random_moments_the_files_are_those_of_an_unbroken_run(
        forker, unbroken, tmp_path):
    _, files, whole = unbroken
    moments, kills, run, finished = random.Random(0), 0, None, 1
    while kills < 20 or not finished:
        if finished:
            run = tmp_path / str(len(os.listdir(tmp_path)))      # some end before they are killed
            run.mkdir()
        seconds = moments.uniform(0, whole / 3) if kills < 20 else None
        code, errors, _ = train(forker, run, seconds=seconds)
        assert code in (0, KILLED), errors
        kills += code == KILLED
        finished = (run / "runs" / "sums").exists()
        assert not finished or hashes(run / "runs" / "sums") == files


def test_a_kill_before_in_or_after_any_step_on_disk_is_made_up_for(forker, unbroken, tmp_path):
    """Each attempt dies at the next step that none died at; an older run lies there."""
    run, points, code = tmp_path / "runs" / "sums", tmp_path / "points", KILLED
    shutil.copytree(unbroken[0], run)
    (run / "results.json").write_text("of the older run")
    points.touch()
    while code == KILLED:
        code, errors, _ = train(forker, tmp_path, points=points)
        assert run.exists() or (tmp_path / "runs" / "sums.old").exists()
    assert code == 0 and hashes(run) == unbroken[1], errors
    assert os.listdir(tmp_path / "runs") == ["sums"]
    died_at = {tuple(line.split()[:2]) for line in points.read_text().splitlines()}
    assert {("makedirs", "sums.part"), ("remove", "token-0.checkpoint"), ("rmtree", "sums.old"),
            *(("replace", name) for name in ("sums", "sums.old", "sums.part")),
            *((step, f"{name}.tmp") for step in ("fsync", "replace") for name in FILES)} <= died_at


def test_an_older_run_is_back_where_the_unfinished_one_is_deleted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part, final = open_folder(Config(), resume=False)
    os.makedirs(final)
    write(f"{final}/results.json", "older")

    def breaks(*paths):
        raise KeyboardInterrupt

    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (
        replace(*paths), monkeypatch.setattr(os, "replace", breaks)))
    with pytest.raises(KeyboardInterrupt):
        close_folder(part, final)
    monkeypatch.setattr(os, "replace", replace)
    assert not os.path.exists(final)
    shutil.rmtree(part)
    open_folder(Config(), resume=False)
    assert open(f"{final}/results.json").read() == "older"


def test_a_run_goes_on_with_other_rows_and_with_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        os.makedirs(f"runs/{name}.part")
        write(f"runs/{name}.part/config.json", json.dumps(vars(Config(name=name))))
    with pytest.raises(UserError, match="was started with --styles cot, --lr 0.0005$"):
        open_folder(Config(name="a", lr=1.0, styles="direct"), resume=True)
    open_folder(Config(name="b", rows=7), resume=True)
    assert json.load(open("runs/b.part/config.json"))["rows"] == 7
    os.replace("runs/c.part", "runs/c")
    with pytest.raises(SystemExit) as finished:
        open_folder(Config(name="c"), resume=True)
    assert not finished.value.code
    with pytest.raises(UserError, match="nothing to resume"):
        open_folder(Config(name="c", lr=1.0), resume=True)


@pytest.mark.parametrize("change", [{"more": 1}, {"lr": None}])       # None: no such key
def test_a_run_of_another_version_is_refused_by_name_and_left_as_it_is(
        tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    options = {k: v for k, v in (vars(Config()) | change).items() if v is not None}
    os.makedirs("runs/sums.part")
    write("runs/sums.part/config.json", json.dumps(options))
    with pytest.raises(UserError, match="sums.part/config.json is of another version"):
        open_folder(Config(), resume=True)
    assert read_json("runs/sums.part/config.json") == options
    os.replace("runs/sums.part", "runs/sums")
    with pytest.raises(UserError, match="runs/sums/config.json is of another version"):
        read_config("runs/sums")


def test_what_lies_in_a_folder_without_config_is_not_mixed_with_a_run_started_plainly(
        tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("runs/sums.part")
    with pytest.raises(UserError, match="add --resume"):
        open_folder(Config(), resume=False)


# ---- a full disk, a closed pipe -----------------------------------------------------------------
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")


@full
def test_a_full_disk_leaves_the_old_file_and_nothing_temporary(tmp_path):
    path = str(tmp_path / "file")
    for size in (3, 10_000_000):
        write(path, "old")
        os.symlink("/dev/full", path + ".tmp")
        with pytest.raises(UserError, match="cannot write .*file: No space left on device"):
            write(path, b"x" * size)
        assert open(path).read() == "old" and os.listdir(tmp_path) == ["file"]


@full
def test_whichever_file_meets_a_full_disk_one_line_says_so_and_resume_goes_on(
        forker, unbroken, tmp_path):
    part = tmp_path / "runs" / "sums.part"
    part.mkdir(parents=True)
    for name in FILES:
        (part / f"{name}.tmp").symlink_to("/dev/full")
        code, errors, _ = train(forker, tmp_path)
        assert (code, errors) == (1, [f"train.py: cannot write runs/sums.part/{name}: "
                                      "No space left on device"])
        assert not [x for x in os.listdir(part) if x.endswith(".tmp")]
    assert train(forker, tmp_path)[0] == 0 and hashes(tmp_path / "runs" / "sums") == unbroken[1]


@full
@pytest.mark.parametrize("command", [["train.py", "--help"], ["eval.py", "runs/sums"],
                                     ["sample.py", "7+8+5+9:"]])
def test_output_to_a_full_disk_gets_one_line_and_to_a_closed_pipe_none(
        forker, unbroken, command):
    folder = unbroken[0].parent.parent
    code, errors, _ = forker.run(folder, *command, stdout="/dev/full")
    assert (code, errors) == (1, [f"{command[0]}: [Errno 28] No space left on device"])
    assert forker.run(folder, *command, stdout="|")[:2] == (1, [])


def test_a_run_into_a_closed_pipe_says_nothing_and_can_be_resumed(forker, unbroken, tmp_path):
    code, errors, _ = train(forker, tmp_path, stdout="|")
    assert code == 1 and errors == [] and (tmp_path / "runs" / "sums.part").exists()
    assert train(forker, tmp_path)[0] == 0 and hashes(tmp_path / "runs" / "sums") == unbroken[1]


def test_a_run_of_the_sequence_level_alone_is_finished_by_train(forker, unbroken, tmp_path):
    code, errors, _ = forker.run(tmp_path, "demos.one_level", "sequence", *RUN)
    text = (tmp_path / "runs" / "sums.part" / "sequence.txt").read_text()
    assert code == 0 and "Sequence level, one style: cot" in text and "LinUCB" in text, errors
    assert train(forker, tmp_path)[0] == 0
    # The same files, but for the order in which rewards.npz has its arrays
    run = tmp_path / "runs" / "sums"
    (run / "sequence.txt").unlink()
    (run / "sequence.npz").unlink()
    files = hashes(run)
    assert {name for name, x in unbroken[1].items() if files.pop(name) != x} == {"rewards.npz"}
    assert not files
    ours, theirs = (RewardStore(f"{folder}/rewards.npz").arrays for folder in (run, unbroken[0]))
    assert ours.keys() == theirs.keys() and all((ours[k] == theirs[k]).all() for k in ours)


@pytest.mark.parametrize("program", ["train.py", "eval.py", "demos.replay", "demos.train_tiny",
                                     "demos.from_gguf"])
def test_ctrl_c_while_torch_is_imported_gets_one_line(program, tmp_path):
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    folder = ["runs/x"] if program == "eval.py" else []
    done = subprocess.run(command_of(program) + folder, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": path})
    assert done.returncode and done.stderr == f"{program}: stopped\n"


@pytest.mark.parametrize("command, says", [
    (["train.py", "--loud"], "--loud"), (["train.py", "--task", "chess"], "unknown task"),
    (["train.py", "--budgets", "9,3"], "rise"), (["train.py", "--dtype", "int3"], "int3"),
    (["train.py", "--parts", "mood"], "--parts"), (["train.py", "--difficulties", "x"], "--diffic"),
    (["eval.py"], "folder"), (["eval.py", "x", "--parallel", "y"], "--parallel"),
    (["sample.py"], "a prompt, or"), (["sample.py", "--seed", "x"], "--seed")])
def test_a_wrong_option_is_told_before_torch_is_imported_by_one_process(command, says, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    for rank, lines in (("0", 1), ("1", 0)):
        done = subprocess.run([*command_of(command[0]), *command[1:]], text=True,
                              capture_output=True,
                              env={**os.environ, "PYTHONPATH": path, "RANK": rank})
        assert done.returncode == 2 and len(done.stderr.splitlines()) == lines
        assert says in done.stderr or rank == "1"


# ---- damaged files ------------------------------------------------------------------------------
def cut(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def test_a_damaged_file_of_an_unfinished_run_is_named_and_made_again_once_deleted(
        forker, unbroken, tmp_path):
    part = tmp_path / "runs" / "sums.part"
    shutil.copytree(unbroken[0], part)
    (part / "both-cot-0.safetensors").unlink()                   # its training reads metrics.csv
    for name in ("config.json", "rewards.npz", "metrics.csv", "softmax-cot-0.safetensors",
                 "token-0.safetensors"):
        cut(part / name)
        code, errors, _ = train(forker, tmp_path)
        assert code == 1 and len(errors) == 1
        assert f"sums.part/{name}" in errors[0] and "delete it, then" in errors[0]
        (part / name).unlink()
    cut(part / "selection.json")                             # read by nobody before it is rewritten
    code, errors, _ = train(forker, tmp_path)
    assert code == 0, errors
    again = hashes(tmp_path / "runs" / "sums")
    lost = ("metrics.csv", "report.html")            # some of its lines; the page shows them
    assert {k: v for k, v in again.items() if k not in lost} == {
        k: v for k, v in unbroken[1].items() if k not in lost}


@pytest.mark.parametrize("name, text", [
    ("config.json", "{"), ("selection.json", "{}"), ("selection.json", "[]"),
    ("selection.json", '{"best_static": [[["cot"]]]}'), ("rewards.npz", ""), ("rewards.npz", "no"),
    ("softmax-cot-0.safetensors", "no")])
def test_a_damaged_file_of_a_finished_run_is_named_and_made_again_as_the_line_says(
        forker, unbroken, tmp_path, name, text):
    run, part = tmp_path / "runs" / "sums", tmp_path / "runs" / "sums.part"
    shutil.copytree(unbroken[0], run)
    (run / name).write_text(text)
    code, errors, _ = forker.run(tmp_path, "eval.py", "runs/sums")
    assert code == 1 and len(errors) == 1
    assert f"runs/sums/{name}" in errors[0] and "rename runs/sums to runs/sums.part" in errors[0]
    if name == "selection.json":
        (run / name).unlink()
        run.rename(part)
        assert train(forker, tmp_path)[0] == 0 and hashes(run) == unbroken[1]


@pytest.mark.parametrize("text", ["", "adapter,seed,step\na,0\n", "seed\n0\n",
                                  "adapter,seed\na,0,1\n"])
def test_lines_that_do_not_fit_their_columns_are_refused(text, tmp_path):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(UserError, match="metrics.csv is damaged: delete it"):
        append_csv(str(tmp_path / "metrics.csv"), {"adapter": "b", "seed": 0}, [{"step": 1}])


def test_a_file_cut_anywhere_is_refused(lm, unbroken, tmp_path):
    readers = {"rewards.npz": RewardStore, "config.json": read_json,
               "token-0.safetensors": lambda path: load_adapter(path, lm),
               "metrics.csv": lambda path: append_csv(path, {"adapter": "a", "seed": 0}, [])}
    for name, read in readers.items():
        whole = (unbroken[0] / name).read_bytes()
        for size in range(0, len(whole) - 1, len(whole) // 50):
            if name == "metrics.csv" and whole[:size].endswith(b"\n"):
                continue                                     # whole lines: nothing tells
            (tmp_path / name).write_bytes(whole[:size])
            with pytest.raises(UserError, match=f"{name}.*delete it"):
                read(str(tmp_path / name))

"""What a run leaves on disk: files that are whole or absent, and adapters with their configuration.

An adapter is one safetensors file; its metadata holds what it was trained for: the LM's id and
hash, how that is asked, its arms or actions, its features, its budgets. `load_adapter` refuses what
does not fit.
"""
import csv
import io
import json
import os
from contextlib import suppress
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.optim import Optimizer

import ranks
from autodeco import AutoDeco
from bandit import Arm, LinUCB, SoftmaxBandit
from cli import UserError
from decode import Strategy
from features import context_size
from lm import LM, from_hub
from pomdp import TEMPERATURES, TokenPolicy


def write(path: str, data: bytes | str) -> None:
    """To a temporary name beside `path`; synced, then renamed. Raises UserError, as of a full disk,
    which leaves the old file whole and nothing temporary."""
    try:
        with open(path + ".tmp", "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".tmp", path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}")
    finally:
        with suppress(OSError):
            os.remove(path + ".tmp")


def damaged(path: str, error: Exception) -> UserError:
    """To be raised where a run's file cannot be read: says how it is made again."""
    folder = os.path.dirname(path)
    first = "" if folder.endswith(".part") else f"rename {folder} to {folder}.part, "
    what = (f"cannot read {path} ({type(error).__name__}): delete it, " if os.path.exists(path) else
            f"there is no {path}: ")
    return UserError(f"{what}{first}then train.py with the same options and --resume makes it "
                     "again")


def read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror} (train.py makes run folders)")
    except ValueError as error:
        raise damaged(path, error)


def shorter(value: Any) -> Any:
    """The same, every float with 5 digits: the file is half as long."""
    if isinstance(value, dict):
        return {k: shorter(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shorter(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def other_lines(path: str, key: dict) -> list[dict]:
    """The lines of a CSV file, if it is there, not of `key`. Raises UserError: damaged."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    rows = list(csv.DictReader(io.StringIO(text)))
    if not text.endswith("\n") or any(
            None in (*row, *row.values()) or not key.keys() <= row.keys() for row in rows):
        raise UserError(f"{path} is damaged: delete it, then --resume; its lines are lost")
    return [row for row in rows if any(row[k] != v for k, v in key.items())]


def append_csv(path: str, key: dict, lines: list[dict]) -> None:
    """Adds `lines`, each with the columns of `key` before it; earlier lines of that key go."""
    key = {k: str(v) for k, v in key.items()}
    rows = other_lines(path, key)
    rows += [{**key, **{k: f"{v:.6g}" for k, v in line.items()}} for line in lines]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for row in rows for k in row)), restval="",
                            lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue())


# ---- checkpoints --------------------------------------------------------------------------------
def load_checkpoint(path: str) -> dict | None:
    """On the CPU, where every process can read it; None where there is none."""
    try:
        return torch.load(path, map_location="cpu") if os.path.exists(path) else None
    except Exception as error:                   # a damaged file raises kinds of torch's own
        raise damaged(path, error)


def restore(path: str, policy: TokenPolicy, optimizer: Optimizer) -> tuple[int, list]:
    """Brings both to where the checkpoint, if there is one, was written; (iterations done, log)."""
    saved = ranks.first(lambda: load_checkpoint(path))
    if saved is None:
        return 0, []
    try:
        policy.load_state_dict(saved["policy"])
        optimizer.load_state_dict(saved["optimizer"])
        return saved["iteration"], saved["log"]
    except Exception as error:                                      # a file of another kind
        raise damaged(path, error)


def save_checkpoint(path: str, **what: object) -> None:
    data = io.BytesIO()
    torch.save(what, data)
    write(path, data.getvalue())


def run_folder(run: str) -> str:
    """Of a run that is here, or of one that was uploaded to a hub: a hub id's."""
    if run.count("/") != 1 or run.startswith("runs/") or os.path.isdir(os.path.dirname(run)):
        return run
    return from_hub(run, "run", ["*.json", "*.safetensors"])


# ---- adapters -----------------------------------------------------------------------------------
def arms_to_json(arms: list[Arm]) -> list:
    return [[arm.style, list(arm.strategy), arm.token] for arm in arms]


def arms_from_json(rows: list) -> list[Arm]:
    return [Arm(style, Strategy(*strategy), token) for style, strategy, token in rows]


KINDS = {"softmax": SoftmaxBandit, "linucb": LinUCB}


def save_adapter(path: str, tensors: dict, kind: str, lm: LM, **about: object) -> None:
    """kind: token, autodeco or one of KINDS. about: whatever JSON can hold, to build it again."""
    about = {"kind": kind, "model": lm.name, "lm_hash": lm.hash(),
             "actions": list(TEMPERATURES), **lm.asked, **about}
    tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
    write(path, save(tensors, {"config": json.dumps(about, sort_keys=True)}))


def read_adapter(path: str) -> tuple[dict, dict]:
    """(tensors, configuration) of an adapter's file. Raises UserError: damaged, or not there."""
    try:
        with safe_open(path, "pt") as file:
            return ({k: file.get_tensor(k) for k in file.keys()},    # noqa: SIM118
                    json.loads(file.metadata()["config"]))
    except Exception as error:                       # safetensors raises kinds of its own
        raise damaged(path, error)


def load_adapter(path: str, lm: LM) -> tuple[Any, dict]:
    """(adapter, its configuration); from now on the LM is asked as in the adapter's training.

    Raises UserError for another LM, action set, or no file.
    """
    tensors, about = read_adapter(path)
    if about["lm_hash"] != lm.hash():
        raise UserError(f"{path} was trained for the LM {about['model']} ({about['lm_hash']}), "
                        f"not for {lm.name} ({lm.hash()})")
    if about["actions"] != list(TEMPERATURES):
        raise UserError(f"{path} was trained for the actions {about['actions']}, "
                        f"not for {list(TEMPERATURES)}")
    asked = {k: about[k] for k in lm.asked if k in about}      # none in older bandits' files
    if asked and asked != lm.asked:
        lm.ask(**asked)
    if about["kind"] == "token":
        adapter: nn.Module = TokenPolicy(lm.d, about["horizon"], about["parts"]).to(lm.device)
    elif about["kind"] == "autodeco":
        adapter = AutoDeco(lm.d).to(lm.device)
    else:
        adapter = KINDS[about["kind"]](context_size(lm.d, about["parts"]), len(about["arms"]))
    adapter.load_state_dict(tensors)
    return adapter.eval(), about

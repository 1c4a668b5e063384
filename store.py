"""What a run leaves on disk: adapters with their configuration, the reward table, checkpoints.

Every file is written under a temporary name and renamed, so that it is whole or absent. An adapter
is one safetensors file; its metadata holds what it was trained for: the LM's id and hash, the arms,
the actions, the features, the budgets. `load_adapter` refuses another LM or another action set.
"""
import json
import os
import shutil

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

from bandit import Arm, LinUCB, SoftmaxBandit
from decode import LM, Strategy, UserError
from features import CENTRES
from pomdp import TEMPERATURES, TokenPolicy


def write(path: str, data: bytes | str):
    """Whole or not at all: to a temporary name beside it, synced, then renamed."""
    data = data.encode() if isinstance(data, str) else data
    try:
        with open(path + ".tmp", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".tmp", path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}")


def save_adapter(path: str, tensors: dict, kind: str, lm: LM, **about):
    """kind: "softmax", "linucb" or "token". about: whatever JSON can hold, to build it again."""
    about = {"kind": kind, "model": lm.name, "lm_hash": lm.hash(),
             "actions": list(TEMPERATURES), **about}
    tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
    write(path, save(tensors, {"config": json.dumps(about, sort_keys=True)}))


def load_adapter(path: str, lm: LM):
    """(adapter, its configuration). Raises UserError for another LM, action set, or no file."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["config"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}
    except Exception as error:                       # safetensors raises its own kinds
        raise UserError(f"cannot load the adapter {path}: {error}")
    if about["lm_hash"] != lm.hash():
        raise UserError(f"{path} was trained for the LM {about['model']} ({about['lm_hash']}), "
                        f"not for {lm.name} ({lm.hash()})")
    if about["actions"] != list(TEMPERATURES):
        raise UserError(f"{path} was trained for the actions {about['actions']}, "
                        f"not for {list(TEMPERATURES)}")
    if about["kind"] == "token":
        adapter = TokenPolicy(lm.d, about["horizon"], about["parts"])
    elif about["kind"] == "softmax":
        adapter = SoftmaxBandit(lm.d + 2 * CENTRES, len(about["arms"]))
    else:
        adapter = LinUCB(lm.d + 2 * CENTRES, len(about["arms"]))
        adapter.inverse, adapter.b = tensors["inverse"], tensors["b"]
        return adapter, about
    adapter.load_state_dict(tensors)
    return adapter.eval(), about


def read_config(folder: str) -> dict:
    """The options of a finished run."""
    try:
        with open(os.path.join(folder, "config.json")) as file:
            return json.load(file)
    except OSError:
        raise UserError(f"{folder} is no finished run: it has no config.json (train.py makes one)")


def arms_to_json(arms: list[Arm]) -> list:
    return [[arm.style, *arm.strategy] for arm in arms]


def arms_from_json(rows: list) -> list[Arm]:
    return [Arm(style, Strategy(*strategy)) for style, *strategy in rows]


class Rewards:
    """The reward table: name -> array of 0/1, in one file; sampled once, kept as it grows."""

    def __init__(self, path: str):
        self.path, self.arrays = path, {}
        if os.path.exists(path):
            with np.load(path) as file:
                self.arrays = {k: file[k] for k in file.files}

    def get(self, name: str, sample) -> np.ndarray:
        """The array `name`, from disk or from sample(); new ones are saved by `flush`."""
        if name not in self.arrays:
            self.arrays[name] = sample()
        return self.arrays[name]

    def flush(self):
        temporary = self.path + ".tmp.npz"
        np.savez_compressed(temporary, **self.arrays)
        os.replace(temporary, self.path)


def replace_folder(new: str, old: str):
    """Puts the folder `new` in the place of `old`; the old one is whole until then."""
    if os.path.exists(old):
        os.replace(old, old + ".old")
    os.replace(new, old)
    shutil.rmtree(old + ".old", ignore_errors=True)

"""What a run leaves on disk: files that are whole or absent, and adapters with their configuration.

An adapter is one safetensors file; its metadata holds what it was trained for: the LM's id and
hash, how that is asked, its arms or actions, its features, its budgets. `load_adapter` refuses what
does not fit.
"""
import json
import os
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch.optim import Optimizer

from decode import Strategy
from experiment.registry import ADAPTERS
from experiment.reward_table import Arm
from lm import LM
from pomdp import TEMPERATURES, TokenPolicy
from utils import distributed
from utils.errors import UserError
from utils.files import damaged, load_checkpoint, write
from utils.hub import from_hub


def restore(path: str, policy: TokenPolicy, optimizer: Optimizer) -> tuple[int, list]:
    """Brings both to where the checkpoint, if there is one, was written; (iterations done, log)."""
    saved = distributed.main_process_first(lambda: load_checkpoint(path))
    if saved is None:
        return 0, []
    try:
        policy.load_state_dict(saved["policy"])
        optimizer.load_state_dict(saved["optimizer"])
        return saved["iteration"], saved["log"]
    except Exception as error:                                      # a file of another kind
        raise damaged(path, error)


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


def save_adapter(path: str, tensors: dict, kind: str, lm: LM, **about: object) -> None:
    """kind: one of registry.ADAPTERS. about: whatever JSON can hold, to build it again."""
    about = {"kind": kind, "model": lm.name, "lm_hash": lm.hash(),
             "actions": list(TEMPERATURES), **lm.prompt_format, **about}
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
    asked = {k: about[k] for k in lm.prompt_format if k in about}  # none in older bandits' files
    if asked and asked != lm.prompt_format:
        lm.set_prompt_format(**asked)
    adapter = ADAPTERS[about["kind"]](lm, about)
    adapter.load_state_dict(tensors)
    return adapter.eval(), about

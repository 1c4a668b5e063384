"""The adapters of a run on disk, each in one safetensors file, and the checkpoints of a training.

The file's metadata holds what the adapter was trained for, and what is needed to build it again:

    kind                        one of registry.ADAPTERS
    model, lm_hash, chat ..     the LM, and how it is prompted
    actions, budgets            the temperatures of the token level; the token budgets
    parts                       of what the adapter observes
    arms                        of a bandit, in the order of its outputs
    horizon, width              of a token policy: the largest token budget; its hidden layers
"""
import json
import os
from functools import partial
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
    """Loads a checkpoint, if there is one, into both; returns (iterations done, log)."""
    saved = distributed.main_process_first(partial(load_checkpoint, path))
    if saved is None:
        return 0, []
    try:
        policy.load_state_dict(saved["policy"])
        optimizer.load_state_dict(saved["optimizer"])
        return saved["iteration"], saved["log"]
    except Exception as error:                                      # a file of another kind
        raise damaged(path, error)


def run_folder(run: str) -> str:
    """The folder of a run on this machine, or of one on a hub, whose id is OWNER/NAME."""
    if run.count("/") != 1 or run.startswith("runs/") or os.path.isdir(os.path.dirname(run)):
        return run
    return from_hub(run, "run", ["*.json", "*.safetensors"])


def arms_to_json(arms: list[Arm]) -> list:
    return [[arm.style, list(arm.strategy), arm.token] for arm in arms]


def arms_from_json(rows: list) -> list[Arm]:
    return [Arm(style, Strategy(*strategy), token) for style, strategy, token in rows]


def save_adapter(path: str, tensors: dict, kind: str, lm: LM, **about: object) -> None:
    """Writes a state dict; about: what else the metadata holds, as the head of this file says."""
    common = {"kind": kind, "model": lm.name, "lm_hash": lm.hash(), "actions": list(TEMPERATURES)}
    metadata = common | lm.prompt_format | about
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write(path, save(tensors, {"config": json.dumps(metadata, sort_keys=True)}))


def read_adapter(path: str) -> tuple[dict, dict]:
    """(state dict, metadata) of an adapter's file. Raises UserError: damaged, or not there."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}    # noqa: SIM118
            return tensors, json.loads(file.metadata()["config"])
    except Exception as error:                       # safetensors raises kinds of its own
        raise damaged(path, error)


def load_adapter(path: str, lm: LM) -> tuple[Any, dict]:
    """(adapter, its metadata). From now on the LM is prompted as it was in the adapter's training.

    Raises UserError if the file is not there, or is of another LM, action set, kind or shape.
    """
    tensors, about = read_adapter(path)
    if about["lm_hash"] != lm.hash():
        raise UserError(f"{path} was trained for the LM {about['model']} ({about['lm_hash']}), "
                        f"not for {lm.name} ({lm.hash()})")
    if about["actions"] != list(TEMPERATURES):
        raise UserError(f"{path} was trained for the actions {about['actions']}, "
                        f"not for {list(TEMPERATURES)}")
    if about["kind"] not in ADAPTERS:
        raise UserError(f"{path} is an adapter of kind {about['kind']!r}; the kinds known here are "
                        f"{', '.join(ADAPTERS)}")
    try:
        adapter = ADAPTERS[about["kind"]](lm, about)
        adapter.load_state_dict(tensors)
    except KeyError as error:
        raise UserError(f"{path} does not fit: {error} is missing or unknown")
    except (RuntimeError, TypeError, ValueError) as error:
        lines = str(error).splitlines()                      # of torch: a title, then the tensors
        raise UserError(f"{path} does not fit: {lines[min(1, len(lines) - 1)].strip()}")
    # Files of older bandits do not say how the LM was asked
    asked = {name: about[name] for name in lm.prompt_format if name in about}
    if asked and asked != lm.prompt_format:
        lm.set_prompt_format(**asked)
    return adapter.eval(), about

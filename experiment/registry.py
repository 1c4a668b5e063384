"""What a run trains and compares: kinds of adapters, bandit learners, token policies, baselines.

A package enters its own by adding to these dictionaries when it is imported, as baselines/ does;
the method itself imports no baseline.
"""
from typing import Any, Callable, NamedTuple

from torch import nn

from bandit import LinUCB, SoftmaxBandit, train_linucb, train_softmax
from features import CONTEXT_PARTS, context_size
from lm import LM
from pomdp import TokenPolicy, ppo_update, reinforce_update
from utils.problem_files import Problem


# ---- kinds of adapters: how one is built again from what its file says --------------------------
def build_token(lm: LM, about: dict) -> nn.Module:
    width, top_k = about.get("width", 128), about.get("top_k", 0)     # older files do not say them
    return TokenPolicy(lm.d, about["horizon"], about["parts"], width, top_k).to(lm.device)


def build_softmax(lm: LM, about: dict) -> nn.Module:
    width = about.get("width", 64)                         # older files do not say it
    return SoftmaxBandit(context_size(lm.d, about["parts"]), len(about["arms"]), width)


def build_linucb(lm: LM, about: dict) -> nn.Module:
    return LinUCB(context_size(lm.d, about["parts"]), len(about["arms"]))


ADAPTERS: dict[str, Callable[[LM, dict], nn.Module]] = {
    "token": build_token,
    "softmax": build_softmax,
    "linucb": build_linucb,
}


# ---- the sequence level: bandit learners --------------------------------------------------------
class BanditLearner(NamedTuple):
    """A way to train a bandit, and its row in the tables."""
    row: str
    train: Callable[..., nn.Module]              # as bandit.train_softmax
    steps: str                                   # the option that says how many
    adapter: str = "softmax"                     # the kind of what it trains, in ADAPTERS
    parts: tuple[str, ...] = CONTEXT_PARTS       # of the context that it sees
    only_with_baselines: bool = False            # trained if the run has --baselines


# The key is a part of the adapter's file name: "softmax" in softmax-cot-0.safetensors.
BANDITS: dict[str, BanditLearner] = {
    "softmax-no-budget": BanditLearner("softmax bandit, no budget", train_softmax, "bandit_steps",
                                       parts=("prompt",), only_with_baselines=True),
    "softmax": BanditLearner("softmax bandit", train_softmax, "bandit_steps"),
    "linucb": BanditLearner("LinUCB", train_linucb, "linucb_steps", "linucb"),
}
BOTH = BanditLearner("both levels", train_softmax, "bandit_steps")


def bandit_learners(with_baselines: bool) -> dict[str, BanditLearner]:
    """The bandits of a run by name, those that need --baselines first."""
    first = {name: x for name, x in BANDITS.items() if x.only_with_baselines}
    others = {name: x for name, x in BANDITS.items() if not x.only_with_baselines}
    return first | others if with_baselines else others


# ---- the token level ----------------------------------------------------------------------------
# An iteration's update: (policy, optimizer, episodes, seed, entropy bonus) -> diagnostics.
TOKEN_LEARNERS: dict[str, Callable[..., dict]] = {"ppo": ppo_update, "reinforce": reinforce_update}

# Rows of the token level's tables: a key of Config.token_variants -> its name there.
TOKEN_ROWS = {
    "token-lpo": "LPO",
    "token-reinforce": "REINFORCE",
    "token-entropy": "token level, entropy only",
    "token-no-budget": "token level, no budget",
    "token": "token level",
}


# ---- baselines ----------------------------------------------------------------------------------
class Baseline(NamedTuple):
    """A published decoding method that ours competes with: a row of the token level's table, with
    --baselines. (The row that a table subtracts is called its `reference`.)"""
    row: str
    cells: Callable[..., Any]                    # (held-out problems) -> cells, or None: no row
    tune: Callable[..., Any] | None = None       # (run, problems) -> what selection.json keeps
    train: Callable[..., None] | None = None     # (run, problems, seed)


BASELINES: dict[str, Baseline] = {}


# run: an experiment.run.Run, whose file imports this one
def tune_baselines(run: Any, problems: list[Problem]) -> dict[str, object]:
    """What selection.json keeps of each published baseline; nothing without --baselines."""
    wanted = BASELINES if run.config.baselines else {}
    return {name: baseline.tune(run, problems) for name, baseline in wanted.items()
            if baseline.tune}


def train_baselines(run: Any, problems: list[Problem]) -> None:
    """The published baselines, every seed; none without --baselines."""
    wanted = BASELINES if run.config.baselines else {}
    for baseline in wanted.values():
        if baseline.train:
            for seed in run.config.all_seeds():
                baseline.train(run, problems, seed)

"""What a run trains and compares: adapter kinds, learners of bandits and token policies, baselines.

A package adds to these dictionaries when it is imported, as baselines/ does; the method itself
imports no baseline.
"""
from typing import Any, Callable, NamedTuple

from torch import nn

from bandit import LinUCB, SoftmaxBandit, train_linucb, train_softmax
from features import CONTEXT_PARTS, context_size
from lm import LM
from pomdp import TokenPolicy, ppo_update, reinforce_update


# ---- kinds of adapters: how one is built again from what its file says --------------------------
def build_token(lm: LM, about: dict) -> nn.Module:
    return TokenPolicy(lm.d, about["horizon"], about["parts"]).to(lm.device)


def build_softmax(lm: LM, about: dict) -> nn.Module:
    return SoftmaxBandit(context_size(lm.d, about["parts"]), len(about["arms"]))


def build_linucb(lm: LM, about: dict) -> nn.Module:
    return LinUCB(context_size(lm.d, about["parts"]), len(about["arms"]))


ADAPTERS: dict[str, Callable[[LM, dict], nn.Module]] = {
    "token": build_token, "softmax": build_softmax, "linucb": build_linucb}


# ---- learners -----------------------------------------------------------------------------------
class Learner(NamedTuple):
    """A way to train a bandit, and its row in the tables."""
    row: str
    training: Callable[..., nn.Module]     # as bandit.train_softmax
    steps: str                             # the option that says how many
    adapter: str = "softmax"               # class of what it trains, in ADAPTERS
    parts: tuple[str, ...] = CONTEXT_PARTS       # of the context that it sees
    baseline: bool = False                    # trained with --baselines alone


BANDITS: dict[str, Learner] = {
    "softmax-no-budget": Learner("softmax bandit, no budget", train_softmax, "bandit_steps",
                                 parts=("prompt",), baseline=True),
    "softmax": Learner("softmax bandit", train_softmax, "bandit_steps"),
    "linucb": Learner("LinUCB", train_linucb, "linucb_steps", "linucb")}
BOTH = {"both": Learner("both levels", train_softmax, "bandit_steps")}

# name -> an iteration's update: (policy, optimizer, episodes, seed, entropy bonus) -> diagnostics
TOKEN_LEARNERS: dict[str, Callable[..., dict]] = {"ppo": ppo_update, "reinforce": reinforce_update}


def learners(rivals: bool) -> dict[str, Learner]:
    """The bandits of a run, by the names of their files: the baselines first."""
    found = sorted(BANDITS.items(), key=lambda item: not item[1].baseline)
    return {name: x for name, x in found if rivals or not x.baseline}


# ---- baselines of the token level ---------------------------------------------------------------
class Baseline(NamedTuple):
    """A published way to set the temperature: a row of the token level's table, with --baselines."""
    row: str
    cells: Callable[..., Any]              # (held-out problems) -> cells, or None: no row
    tune: Callable[..., Any] | None = None      # (run, problems) -> what selection.json keeps
    train: Callable[..., None] | None = None    # (run, problems, seed)


BASELINES: dict[str, Baseline] = {}

"""What an adapter sees: the context of a prompt, and the observation before a token.

    python -m demos.observation                  # f(p_t) and b_t at each token of a completion; 5 s
    python -m demos.observation "12+9+4:" --budget 20

    context      x   = [LN(e); thresholds(log2 B); thresholds(T)]       sequence level (bandit.py)
    observation  o_t = [LN(h_t); LN(e); f(p_t); thresholds(b_t)]        token level (pomdp.py)

    e, h_t   hidden state at the last prompt token; that which predicts token t            (R, d)
    B, T     parallel budget (samples a prompt); token budget                              (R,)
    b_t      tokens left, T - t                                                            (R,)
    p_t      next-token distribution; f(p_t): its entropy and three largest probabilities  (R, 4)
    LN       a layer norm without weights, so that one learning rate suits every LM
    thresholds(n)   soft thresholds of n, for log2 B from 0 to 3, for T and b_t from 0 to the
             run's largest T: "fewer than 12 tokens left" is then nearly one input         (R, 14)

Deviations from the paper: (1) e stands beside h_t, for LMs whose hidden state says little of the
prompt; that of the small LM says enough (docs/optimum.md). (2) Budgets are soft thresholds, not
one number. (3) The token budget T is part of the context, so that one policy serves all budgets.
"""
import math
from typing import Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from utils.parts import CONTEXT_PARTS, OBSERVATION_PARTS

PARALLEL_BUDGETS = (1, 2, 4, 8)                                    # B (paper: 1 and 8)
P_MAX_COLUMN = 1                                                   # of `distribution_features`
N_THRESHOLDS = 14                                                  # soft thresholds (prototype)


def distribution_features(logits: Tensor) -> Tensor:
    """f(p) (R, 4): entropy in nats, then the three largest probabilities, from logits (R, V)."""
    p = logits.float().softmax(-1)                                               # (R, V)
    entropy = torch.special.entr(p).sum(-1, keepdim=True)          # H = -sum p log p; 0 log 0 = 0
    largest = p.topk(3).values
    return torch.cat([entropy, largest], dim=1)


def soft_thresholds(x: Tensor, top: float) -> Tensor:
    """(R, 14) of numbers x (R,): sigmoid((x - c) / w) at centres c, evenly spaced over 0 .. top."""
    centres = torch.linspace(0, top, N_THRESHOLDS, device=x.device)
    width = 0.375 * top / (N_THRESHOLDS - 1)            # w is .375 of their distance (prototype)
    return torch.sigmoid((x[:, None] - centres) / width)


def normalise(x: Tensor) -> Tensor:
    """LN(x) (R, d): each row with mean 0 and variance 1, in fp32."""
    return layer_norm(x.float(), x.shape[-1:])


def observe(h: Tensor, e: Tensor, dist: Tensor, thresholds_left: Tensor,
            parts: Sequence[str] = OBSERVATION_PARTS) -> Tensor:
    """o_t (R, D) from h and e (R, d), f(p) (R, 4), and the soft thresholds of b_t (R, 14)."""
    pieces = {
        "hidden": normalise(h),
        "prompt": normalise(e),
        "distribution": dist.float(),
        "entropy": dist[:, :1].float(),
        "budget": thresholds_left,
    }
    return torch.cat([pieces[part] for part in parts], dim=1)


def observation_size(d: int, parts: Sequence[str] = OBSERVATION_PARTS) -> int:
    """D of `observe`."""
    size = {"hidden": d, "prompt": d, "distribution": 4, "entropy": 1, "budget": N_THRESHOLDS}
    return sum(size[part] for part in parts)


def context(e: Tensor, parallel: Tensor, tokens: Tensor, horizon: int,
            parts: Sequence[str] = CONTEXT_PARTS) -> Tensor:
    """x (R, D) from e (R, d), parallel budgets B (R,) and token budgets T (R,), T <= horizon."""
    pieces = {
        "prompt": normalise(e),
        "parallel": soft_thresholds(parallel.float().log2(), math.log2(PARALLEL_BUDGETS[-1])),
        "budget": soft_thresholds(tokens.float(), horizon),
    }
    return torch.cat([pieces[part] for part in parts], dim=1)


def context_size(d: int, parts: Sequence[str] = CONTEXT_PARTS) -> int:
    """D of `context`."""
    size = {"prompt": d, "parallel": N_THRESHOLDS, "budget": N_THRESHOLDS}
    return sum(size[part] for part in parts)

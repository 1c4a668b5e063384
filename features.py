"""What an adapter sees: the context of a prompt, the observation before a token.

    python -m demos.observation                       # f(p_t) and b_t at each token of a text; 5 seconds
    python -m demos.observation "12+9+4:" --budget 20

    context      x   = [LN(e); steps(log2 B); steps(T)]                   sequence level (bandit.py)
    observation  o_t = [LN(h_t); LN(e); f(p_t); steps(b_t)]                token level (pomdp.py)

LN is a layer norm without weights, so that one learning rate suits every LM. `steps` writes a
number as soft thresholds: a rule such as "hot when fewer than 12 are left" is then one weight.

Deviations from the paper: (1) e beside h_t: this LM's hidden state does not carry the length of
the sum (measured in the prototype). (2) Soft thresholds instead of one number. (3) The token budget
T is part of the context, so that one policy serves all budgets.
"""
import math
from typing import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

PARALLEL_BUDGETS = (1, 2, 4, 8)                                      # B (paper: 1 and 8)
CONTEXT_PARTS = ("prompt", "parallel", "budget")                   # parts of x; e, B and T
OBSERVATION_PARTS = ("hidden", "prompt", "distribution", "budget")       # of o_t; each can be switched off
#        "entropy", the first number of "distribution", is a part as well: the paper's ablation
P_MAX_COLUMN = 1                                                    # column of p_max in `distribution`
N_THRESHOLDS = 14                                                 # of soft thresholds (prototype)


def distribution(logits: Tensor) -> Tensor:
    """(R, 4): entropy in nats, then the three largest probabilities, from logits (R, V)."""
    p = logits.float().softmax(-1)
    entropy = torch.special.entr(p).sum(-1, keepdim=True)            # H = -sum p log p; 0 log 0 = 0
    return torch.cat([entropy, p.topk(3).values], 1)


def steps(x: Tensor, top: float) -> Tensor:
    """(R, 14): sigmoid((x - c) / w), centres c evenly over 0 .. top, w = .375 gaps (prototype)."""
    centres = torch.linspace(0, top, N_THRESHOLDS, device=x.device)
    return torch.sigmoid((x[:, None] - centres) / (0.375 * top / (N_THRESHOLDS - 1)))


def observe(h: Tensor, e: Tensor, dist: Tensor, left: Tensor,
            parts: Sequence[str] = OBSERVATION_PARTS) -> Tensor:
    """(R, D) from h, e (R, d), dist (R, 4) and left (R, 14), the `steps` of tokens left."""
    pieces = {"hidden": lambda: F.layer_norm(h.float(), h.shape[-1:]),
              "prompt": lambda: F.layer_norm(e.float(), e.shape[-1:]),
              "distribution": lambda: dist.float(), "entropy": lambda: dist[:, :1].float(),
              "budget": lambda: left}
    return torch.cat([pieces[part]() for part in parts], 1)


def observation_size(d: int, parts: Sequence[str] = OBSERVATION_PARTS) -> int:
    size = {"hidden": d, "prompt": d, "distribution": 4, "entropy": 1, "budget": N_THRESHOLDS}
    return sum(size[part] for part in parts)


def context(e: Tensor, parallel: Tensor, tokens: Tensor, horizon: int,
            parts: Sequence[str] = CONTEXT_PARTS) -> Tensor:
    """(R, D) from e (R, d), parallel budgets B (R,) of 1 to 8, token budgets T (R,)."""
    pieces = {"prompt": lambda: F.layer_norm(e.float(), e.shape[-1:]),
              "parallel": lambda: steps(parallel.float().log2(), math.log2(PARALLEL_BUDGETS[-1])),
              "budget": lambda: steps(tokens.float(), horizon)}
    return torch.cat([pieces[part]() for part in parts], 1)


def context_size(d: int, parts: Sequence[str] = CONTEXT_PARTS) -> int:
    return sum({"prompt": d, "parallel": N_THRESHOLDS, "budget": N_THRESHOLDS}[part] for part in parts)

"""Sampling and the decode loop: a strategy a row, chosen at every token by a policy.

    python decode.py "7+8+5+9:"                      # text coloured by the action at each token
    python decode.py "7+8+5+9:" --run runs/sums --budget 24 --seed 3

A *strategy* is four numbers: temperature, top-k, top-p, min-p. A *policy* is a callable: it sees
the `State` of every running row before each token and returns a `Choice` of strategies. Static
baselines, the sequence-level and the token-level adapter differ only in who chooses, and when.

    e, h_0 = LM(prompt)                                 prefill, once for the prompt's n samples
    for t = 0 .. T-1:
        s_t ~ policy(h_t, p_t, b_t = T - t);   y_t ~ probs(logits_t, s_t);   h_t+1 = LM(y_t)

Deviations from the paper: none in the sampler. Each row draws from a random stream of its own,
keyed by (seed, prompt, sample, step), so that its text does not depend on its neighbours.

| symbol | meaning | shape |
|---|---|---|
| N, n, R | prompts, samples a prompt, rows | |
| V, d | vocabulary, hidden size | |
| e, h_t | last-layer hidden state at the last prompt token; that which predicts token t | (R, d) |
| b_t | tokens left, T - t | (R,) |
| a_t, y_t | action, token | (R,) |
"""
import hashlib
import os
import sys
from dataclasses import dataclass
from typing import Callable, NamedTuple

import torch
from torch import Tensor

from cli import Parser, UserError, run
from lm import LM, reserve


# ---- strategies and the sampler -----------------------------------------------------------------
class Strategy(NamedTuple):
    """Temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 are off."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __str__(self):
        if self.temperature == 0:
            return "greedy"
        named = (("k", self.top_k, 0), ("p", self.top_p, 1), ("min-p", self.min_p, 0))
        return f"T={self.temperature:g}" + "".join(f" {n}={v:g}" for n, v, off in named if v != off)


GREEDY = Strategy(0.0)


def probs(logits: Tensor, strategies: Tensor) -> Tensor:
    """Next-token probabilities (R, V) of logits (R, V) under one strategy a row (R, 4).

    The order is that of transformers' warpers: temperature, top-k, top-p, min-p, each on what the
    one before has left. Temperature 0 puts all mass on the arg-max.
    """
    temperature, top_k, top_p, min_p = strategies.unsqueeze(-1).unbind(1)            # (R, 1) each
    greedy = temperature == 0
    x = logits.float() / temperature.masked_fill(greedy, 1.0)                        # (R, V)
    if ((top_k > 0) | (top_p < 1)).any():                                # no sort when both are off
        x = _top_k_top_p(x, top_k.long(), top_p)
    p = x.softmax(-1)
    p = p.masked_fill(p < min_p * p.amax(-1, keepdim=True), 0.0)         # min-p: relative to p_max
    p = p / p.sum(-1, keepdim=True)
    best = torch.zeros_like(p).scatter_(1, logits.argmax(-1, keepdim=True), 1.0)
    return torch.where(greedy, best, p)


def _top_k_top_p(x: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    ranked, order = x.sort(-1, descending=True)                                      # (R, V)
    k = torch.where(top_k > 0, top_k, x.shape[-1]).clamp(max=x.shape[-1])            # (R, 1)
    ranked = ranked.masked_fill(ranked < ranked.gather(1, k - 1), -torch.inf)       # ties at k stay
    # A token goes when what stands behind it, itself included, holds at most 1 - p of the mass.
    tail = ranked.flip(-1).softmax(-1).cumsum(-1).flip(-1)                           # (R, V)
    out = (tail <= 1 - top_p) & (top_p < 1)
    out[:, 0] = False
    return x.scatter(1, order, ranked.masked_fill(out, -torch.inf))


def sample(p: Tensor, u: Tensor) -> Tensor:
    """Inverse CDF: tokens (R,) from probabilities (R, V) and uniforms (R,) in [0, 1)."""
    cdf = p.cumsum(-1)
    return torch.searchsorted(cdf, u[:, None] * cdf[:, -1:], right=True).squeeze(1)


# ---- random streams: one a row, whatever the batch ----------------------------------------------
def _mix(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al. 2014) on int64, whose products wrap.

    Its factors 0xBF58476D1CE4E5B9 and 0x94D049BB133111EB stand here as the negative int64 they are.
    """
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def row_keys(seed: int, prompts: Tensor, samples: Tensor) -> Tensor:
    """Keys (R,) of the rows' random streams, from prompt keys (R,) and sample numbers (R,)."""
    return _mix(_mix(prompts + _mix(torch.tensor(seed + 1))) + _mix(samples + 1))


def uniforms(keys: Tensor, step: int, stream: int) -> Tensor:
    """Uniforms (R,) in [0, 1). Streams: 0 draws tokens, 1 draws actions. 23 bits: exact in fp32."""
    bits = _mix(keys + _mix(torch.tensor(2 * step + stream + 1)))
    return ((bits >> 41) & 0x7FFFFF).float() / 2**23


def prompt_key(text: str) -> int:
    """63 bits that name a prompt by its text, so that its draws do not depend on its place."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


# ---- what flows between the loop and a policy ---------------------------------------------------
@dataclass
class State:
    """What a policy sees before token t, for each of R rows; row is on the CPU, the rest where the
    LM is."""
    row: Tensor        # (R,) which rows of the call these are
    logits: Tensor     # (R, V)
    h: Tensor          # (R, d)
    e: Tensor          # (R, d)
    left: Tensor       # (R,) b_t
    u: Tensor          # (R,) the policy's own uniforms


@dataclass
class Choice:
    """What a policy answers. One that learns fills all four of the rest, and they are recorded."""
    strategies: Tensor                 # (R, 4)
    action: Tensor | None = None       # (R,)
    free: Tensor | None = None         # (R,) bool: a decision that counts in the loss
    logp: Tensor | None = None         # (R,) of the action, where free
    distribution: Tensor | None = None # (R, K) features of the distribution


Policy = Callable[[State], Choice]


@dataclass
class Episode:
    """One sampled text. F of its T tokens are decisions that count in the loss."""
    prompt: int
    sample: int
    budget: int
    tokens: Tensor                     # (T,) ids, the end token included
    ended: bool                        # False: it ran out of tokens, which is terminal
    e: Tensor                          # (d,)
    action: Tensor                     # (T,) -1 where the policy names none
    where: Tensor                      # (F,) steps of the decisions
    logp: Tensor                       # (F,) at sampling time
    h: Tensor                          # (F, d)
    distribution: Tensor               # (F, K)
    reward: float = 0.0

    @property
    def left(self) -> Tensor:          # (F,) b_t
        return self.budget - self.where


def static(strategies: Tensor) -> Policy:
    """The policy that gives row i the strategy strategies[i] at every token; (rows, 4)."""
    return lambda state: Choice(strategies[state.row])


# ---- the loop -----------------------------------------------------------------------------------
@torch.inference_mode()
def rollout(lm: LM, prompts: list[list[int]], policy: Policy, budgets: Tensor, keys: Tensor,
            n: int = 1, seed: int = 0, rows: int = 1024) -> list[Episode]:
    """Samples n texts a prompt; episodes in the order (prompt, sample).

    budgets: (N * n,) token budget of each row, all at least 1. keys: (N,) from `prompt_key`.
    rows: how many decode at once; results do not depend on it (exactly so in fp32).
    Raises UserError for an empty prompt or a budget below 1.
    """
    if budgets.min() < 1:
        raise UserError(f"a token budget must be at least 1, not {int(budgets.min())}")
    if not all(prompts):
        raise UserError("a prompt has no tokens")
    length = torch.tensor([len(p) for p in prompts]).repeat_interleave(n)             # (N * n,)
    order = length.argsort(stable=True)                  # like lengths together: little padding
    episodes = [None] * len(order)
    for part in order.split(rows):
        stream = row_keys(seed, keys[part // n], part % n)
        for i, episode in zip(part.tolist(), _batch(lm, prompts, policy, budgets[part], stream,
                                                    part, n)):
            episodes[i] = episode
    return episodes


def _batch(lm, prompts, policy, budgets, stream, part, n) -> list[Episode]:
    """The KV-cached loop over the rows `part` (R,). Rows that ended are dropped by quarters."""
    which, local = (part // n).unique(return_inverse=True)
    logits, cache, mask = lm.prefill([prompts[i] for i in which])
    longest, horizon, device = mask.shape[1], int(budgets.max()), lm.device
    reserve(cache, local.to(device), longest + horizon - 1)
    logits, mask = logits[local], mask[local]                                       # (R, V), (R, P)
    h = e = lm.h[local]                                                             # (R, d)
    positions = mask.sum(1)
    padded = not bool(mask.all())
    mask = torch.cat([mask, mask.new_ones(len(part), horizon)], 1)
    tokens = torch.zeros(len(part), horizon, dtype=torch.long)
    actions = torch.full((len(part), horizon), -1, dtype=torch.int8)
    lengths, ended, decisions = budgets.clone(), torch.zeros(len(part), dtype=torch.bool), []
    e_all, live, running = e, torch.arange(len(part)), torch.ones(len(part), dtype=torch.bool)
    for t in range(horizon):
        state = State(part[live], logits, h, e, (budgets[live] - t).to(device),
                      uniforms(stream[live], t, 1).to(device))
        choice = policy(state)
        y = sample(probs(logits, choice.strategies.to(device)),
                   uniforms(stream[live], t, 0).to(device))
        tokens[live[running], t] = y.cpu()[running]
        if choice.action is not None:
            actions[live[running], t] = choice.action.cpu()[running].to(torch.int8)
            free = (choice.free.cpu() & running).nonzero().squeeze(1)
            decisions.append((live[free], torch.full_like(free, t), choice.logp[free].cpu(),
                              h[free].cpu(), choice.distribution[free].cpu()))
        end = torch.isin(y, lm.ends).cpu() & running
        ended[live[end]] = True
        lengths[live[end]] = t + 1
        running &= ~end & (budgets[live] > t + 1)
        if not running.any():
            break
        if running.sum() <= 0.75 * len(running):         # ours: a copy of the cache costs ~1 step
            keep = running.nonzero().squeeze(1)
            reserve(cache, keep, longest + horizon - 1)
            live, y, e, mask, positions = (x[keep] for x in (live, y, e, mask, positions))
            running = running[keep]
        logits = lm.forward(y[:, None], positions[:, None],
                            mask[:, :longest + t + 1] if padded else None, cache)
        h, positions = lm.h, positions + 1
    return _episodes(part, n, budgets, tokens, lengths, ended, e_all.cpu(), actions, decisions)


def _episodes(part, n, budgets, tokens, lengths, ended, e, actions, decisions) -> list[Episode]:
    counts = [0] * len(part)
    per_row = [()] * len(part)
    if decisions:
        row, *fields = (torch.cat(x) for x in zip(*decisions))
        order = row.argsort(stable=True)                                  # by row, then by step
        counts = row.bincount(minlength=len(part)).tolist()
        per_row = list(zip(*(x[order].split(counts) for x in fields)))
    nothing = (torch.zeros(0, dtype=torch.long), torch.zeros(0), e[:0], torch.zeros(0, 0))
    return [Episode(i // n, i % n, budget, tokens[r, :length], end, e[r], actions[r, :length],
                    *(per_row[r] or nothing))
            for r, (i, budget, length, end) in enumerate(
                zip(part.tolist(), budgets.tolist(), lengths.tolist(), ended.tolist()))]


# ---- as a program: one prompt in, text coloured by action out -----------------------------------
COLOURS = ("\033[32m", "\033[36m", "\033[33m", "\033[31m")            # greedy, T = .5, 1, 1.25
MARKS = "₀₁₂₃"                                                        # without a colour terminal


def coloured(lm: LM, episode: Episode, colour: bool) -> str:
    """The text, a colour (or a mark behind it) for the action at each decision."""
    pieces, decided = [], set(episode.where.tolist())
    for t, (token, action) in enumerate(zip(episode.tokens.tolist(), episode.action.tolist())):
        piece = lm.tokenizer.decode([token])
        if t in decided:
            piece = f"{COLOURS[action]}{piece}\033[0m" if colour else piece + MARKS[action]
        pieces.append(piece)
    return "".join(pieces)


def main():
    from config import read_config                    # here alone: the loop knows no policy
    from pomdp import SURE, TEMPERATURES
    from store import load_adapter
    parser = Parser(description="Decode one prompt with a trained token policy.")
    parser.add_argument("prompt", help='such as "7+8+5+9:"')
    parser.add_argument("--run", default="runs/sums", help="run folder (default runs/sums)")
    parser.add_argument("--budget", type=int, help="tokens (default: the run's largest)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    args = parser.parse_args()
    config = read_config(args.run)
    lm = config.load_lm()
    policy, about = load_adapter(f"{args.run}/token-{config.seed}.safetensors", lm)
    budget = torch.tensor([about["horizon"] if args.budget is None else args.budget])
    if about["stop"]:
        lm.stop_at(about["stop"])
    ids = lm.encode(args.prompt, about["chat"], about["thinking"])
    episode, = rollout(lm, [ids], policy.acting(), budget, torch.tensor([prompt_key(args.prompt)]),
                       seed=args.seed)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    names = ["greedy"] + [f"T = {t:g}" for t in TEMPERATURES[1:]]
    print(args.prompt + coloured(lm, episode, colour))
    print("legend: " + ", ".join(f"{c}{name}\033[0m" if colour else f"{name} {m}"
                                 for c, m, name in zip(COLOURS, MARKS, names))
          + f"; unmarked: p_max > {SURE:g}, greedy; {len(episode.tokens)} of {int(budget)} tokens"
          + ("" if episode.ended else ", ran out"))


if __name__ == "__main__":
    run("decode.py", main)

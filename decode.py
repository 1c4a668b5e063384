"""Sampling and the decode loop: a strategy a row, chosen at every token by a policy.

    python sample.py                          # what the sampler draws, beside exact p; 4 seconds
    python sample.py "7+8+5+9:"                      # text coloured by the action at each token
    python sample.py "7+8+5+9:" --run runs/sums --budget 24 --seed 3
    python sample.py --problem 3 --compare           # a held-out problem, every policy, its verdict

A *strategy* is four numbers: temperature, top-k, top-p, min-p. A *policy* is a callable: it sees
the `State` of every running row before each token and returns a `Choice` of strategies. Static
baselines, the sequence-level and the token-level adapter differ only in who chooses, and when.

    e, h_0 = LM(prompt)                                 prefill, once for the prompt's n samples
    for t = 0 .. T-1:
        s_t ~ policy(h_t, p_t, b_t = T - t);   y_t ~ probs(logits_t, s_t);   h_t+1 = LM(y_t)

Deviations from the paper: (1) none in the sampler, but each row draws from a stream of its own,
keyed by (seed, prompt, sample, step), so that its text does not depend on its neighbours.

| symbol | meaning | shape |
|---|---|---|
| N, n, R | prompts, samples a prompt, rows | |
| V, d | vocabulary, hidden size | |
| e, h_t | last-layer hidden state at the last prompt token; that which predicts token t | (R, d) |
| b_t | tokens left, T - t | (R,) |
| a_t, y_t | action, token | (R,) |
"""
import functools
import hashlib
import itertools
from dataclasses import dataclass
from typing import Callable, NamedTuple

import torch
from torch import Tensor

from batch import Batch, State
from lm import LM
from utils.errors import UserError
from utils.profiling import clock


# ---- strategies and the sampler -----------------------------------------------------------------
class Strategy(NamedTuple):
    """Temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 are off."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __str__(self) -> str:
        if self.temperature == 0:
            return "greedy"
        named = (("k", self.top_k, 0), ("p", self.top_p, 1), ("min-p", self.min_p, 0))
        return f"T={self.temperature:g}" + "".join(f" {n}={v:g}" for n, v, off in named if v != off)


GREEDY = Strategy(0.0)


def strategy_pool() -> list[Strategy]:
    """180 strategies: 5 temperatures x 3 top-k x 3 top-p x 4 min-p (ours: the grid is unpublished).

    The coldest, narrowest corner is greedy in all but name, so greedy itself takes its place.
    """
    grid = [Strategy(*s) for s in itertools.product(
        (0.5, 0.75, 1.0, 1.25, 1.5), (2, 8, 0), (0.8, 0.95, 1.0), (0.3, 0.1, 0.03, 0.0))]
    return [GREEDY] + grid[1:]


def has_filters(strategies: Tensor) -> bool:
    """Does any of the strategies (R, 4) have top-k or top-p on?"""
    return bool(((strategies[:, 1] > 0) | (strategies[:, 2] < 1)).any())


def probs(logits: Tensor, strategies: Tensor, filters: bool = True) -> Tensor:
    """Next-token probabilities (R, V) of logits (R, V) under one strategy a row (R, 4).

    The order is that of transformers' warpers: temperature, top-k, top-p, min-p, each on what the
    one before has left. Temperature 0 puts all mass on the arg-max. filters: see `Choice`.
    """
    # assignment 1
    temperature, top_k, top_p, min_p = strategies.unsqueeze(-1).unbind(1)            # (R, 1) each
    greedy = temperature == 0
    x = logits.float() / temperature.masked_fill(greedy, 1.0)                        # (R, V)
    if filters:
        x = _top_k_top_p(x, top_k.long(), top_p)
    p = x.softmax(-1)
    p = p.masked_fill(p < min_p * p.amax(-1, keepdim=True), 0.0)         # min-p: relative to p_max
    p = p / p.sum(-1, keepdim=True)
    best = torch.zeros_like(p).scatter_(1, logits.argmax(-1, keepdim=True), 1.0)
    return torch.where(greedy & ~p[:, :1].isnan(), best, p)          # NaN stays NaN: rollout stops


FIRST = 256       # tokens ranked (ours: a sort of 64 x 49,152 takes 110 ms, half of SmolLM2's step)


def _top_k_top_p(x: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Logits x (R, V) without what top-k (R, 1), then top-p (R, 1) leave out.

    The FIRST best are enough where they hold all that stays; else more of them are ranked, or all.
    """
    # assignment 1
    on, whole = (top_k > 0) | (top_p < 1), x.logsumexp(-1, keepdim=True)
    for size in sorted({min(s, x.shape[-1]) for s in (FIRST, 16 * FIRST, x.shape[-1])}):
        ranked, order = x.topk(size)                                                 # (R, size)
        k = torch.where(top_k > 0, top_k, size).clamp(max=size)
        kth = ranked.gather(1, k - 1)                                                # (R, 1)
        mass = (ranked.logsumexp(-1, keepdim=True) - whole).exp()
        enough = torch.where(top_k > 0, ranked[:, -1:] < kth, top_p < mass - 1e-6)   # roundings
        if (enough | ~on).all():
            break
    ranked = ranked.masked_fill(ranked < kth, -torch.inf)                      # ties at k stay
    total = torch.where(top_k > 0, ranked.logsumexp(-1, keepdim=True), whole)
    before = (ranked - total).exp().cumsum(-1).roll(1, -1)
    before[:, 0] = -1        # a token goes when those before it hold p of the mass; the first stays
    ranked = ranked.masked_fill((before >= top_p) & (top_p < 1), -torch.inf)
    return torch.where(on, torch.full_like(x, -torch.inf).scatter(1, order, ranked), x)


def sample(p: Tensor, u: Tensor) -> Tensor:
    """Inverse CDF: tokens (R,) from probabilities (R, V) and uniforms (R,) in [0, 1)."""
    cdf = p.cumsum(-1)
    y = torch.searchsorted(cdf, u[:, None] * cdf[:, -1:], right=True).squeeze(1)
    return y.clamp(max=p.shape[1] - 1)                            # V where p is NaN


# ---- random streams: one a row, whatever the batch ----------------------------------------------
def _mix(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al. 2014) on int64, whose products wrap.

    Its factors 0xBF58476D1CE4E5B9 and 0x94D049BB133111EB stand here as the negative int64 they are.
    """
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def row_keys(seed: int, prompts: Tensor, samples: Tensor) -> Tensor:
    """Keys of the rows' random streams, from prompt keys and sample numbers, (N * n,) all."""
    return _mix(_mix(prompts + _mix(torch.tensor(seed + 1))) + _mix(samples + 1))


def uniforms(keys: Tensor, step: Tensor, stream: int) -> Tensor:
    """Uniforms in [0, 1); shapes broadcast. Streams: 0 draws tokens, 1 actions. 23 bits: exact."""
    bits = _mix(keys + _mix(2 * step + stream + 1))
    return ((bits >> 41) & 0x7FFFFF).float() / 2**23


def prompt_key(text: str) -> int:
    """63 bits that name a prompt by its text, so that its draws do not depend on its place."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


# ---- what flows between the loop and a policy ---------------------------------------------------
@dataclass
class Choice:
    """What a policy answers. One that learns fills all, and the last five are recorded."""
    strategies: Tensor                 # (R, 4)
    filters: bool = True               # False: no row has top-k or top-p, and nothing is ranked
    action: Tensor | None = None       # (R,)
    decision_rows: Tensor | None = None         # (F,) places where the policy decides: in the loss
    logp: Tensor | None = None         # (F,) of the action
    h: Tensor | None = None            # (F, d)
    distribution: Tensor | None = None # (F, K) features of the distribution


Policy = Callable[[State], Choice]
OnEnd = Callable[[int, Tensor], object]                       # (row, its tokens)
OnStep = Callable[[State, Choice, Tensor, Tensor], object]    # (state, choice, p (R, V), y (R,))


@dataclass
class Episode:
    """One sampled text. F of its T tokens are decisions that count in the loss."""
    prompt: int
    sample: int
    budget: int
    tokens: Tensor                     # (T,) ids, the end token included
    truncated: bool                    # it ran out of tokens, which is terminal
    e: Tensor                          # (d,)
    action: Tensor                     # (T,) -1 where the policy names none
    decision_steps: Tensor                      # (F,) steps of the decisions
    logp: Tensor                       # (F,) at sampling time
    h: Tensor                          # (F, d)
    distribution: Tensor               # (F, K)
    reward: float | list[float] = 0.0  # a list: one a token budget, of a static strategy

    @property
    def tokens_left(self) -> Tensor:          # (F,) b_t
        return self.budget - self.decision_steps


def static(strategies: Tensor) -> Policy:
    """The policy that gives row i the strategy strategies[i] at every token; (rows, 4), or (1, 4)
    for all rows."""
    there, filters = functools.cache(strategies.to), has_filters(strategies)   # moved once

    def policy(state: State) -> Choice:
        s = there(state.row.device)
        return Choice(s.expand(len(state.row), -1) if len(s) == 1 else s[state.row], filters)

    return policy


# ---- the loop -----------------------------------------------------------------------------------
@torch.inference_mode()
def rollout(lm: LM, prompts: list[list[int]], policy: Policy, budgets: Tensor, keys: Tensor,
            n: int = 1, seed: int = 0, rows: int = 512,
            on_end: OnEnd | None = None, on_step: OnStep | None = None) -> list[Episode]:
    """Samples n texts a prompt; episodes in the order (prompt, sample).

    budgets: (N * n,) token budget of each row, all at least 1. keys: (N,) from `prompt_key`.
    rows: how many decode at once; results do not depend on it (exactly so in fp32).
    on_end(row, tokens): called as soon as a row has ended, while others go on.
    on_step(state, choice, p, y): called before the loop goes on by the tokens y (R,) out of p (R, V).
    Raises UserError for an empty prompt, a budget below 1, and logits that are no numbers.
    """
    if budgets.min() < 1:
        raise UserError(f"a token budget must be at least 1, not {int(budgets.min())}")
    if not all(prompts):
        raise UserError("a prompt has no tokens")
    stream = row_keys(seed, keys.repeat_interleave(n), torch.arange(n).repeat(len(prompts)))
    steps = torch.arange(int(budgets.max()) + 1)

    def draw(rows: Tensor) -> Tensor:
        return torch.stack([uniforms(stream[rows, None], steps, i) for i in (0, 1)], 1)

    with clock("bookkeeping"):
        batch, record = Batch(lm, prompts, budgets, draw, n, rows), EpisodeRecorder(budgets, n, lm.ends)
        while batch.running.any():
            s = batch.state
            with clock("policy"):
                choice = policy(s)
            with clock("sampling"):
                p = probs(s.logits, choice.strategies, choice.filters)
                y = sample(p, s.uniform(0))
            record.add(s, y, choice)
            if on_step:
                on_step(s, choice, p, y)
            for row, length in batch.advance(y, p[:, 0].isnan()):
                record.lengths[row] = length
                if on_end:
                    on_end(row, record.tokens[row, :length].long().cpu())
        lm.kv_cache = batch.kv_cache
        return record.episodes(batch.e)


def generate(lm: LM, prompts: list[str], policy: Policy, budgets: int | Tensor, n: int = 1,
             seed: int = 0, rows: int = 512,
             on_end: OnEnd | None = None, on_step: OnStep | None = None) -> list[Episode]:
    """`rollout` of texts, put as `LM.set_prompt_format` says; a text's characters key its draws.

    budgets: one for all rows, or (N * n,).
    """
    keys = torch.tensor([prompt_key(p) for p in prompts])
    each = torch.as_tensor(budgets).expand(len(prompts) * n)
    return rollout(lm, [lm.encode(p) for p in prompts], policy, each, keys, n, seed, rows,
                   on_end, on_step)


class EpisodeRecorder:
    """What was drawn, row by row, on the LM's device until the end."""

    def __init__(self, budgets: Tensor, n: int, ends: Tensor):
        """ends: the tokens that end a text."""
        self.budgets, self.n, self.ends, self.decisions = budgets.tolist(), n, ends, []
        self.lengths = [0] * len(budgets)
        # One column more, T, for what a place draws whose row has ended (see `State.left`).
        self.tokens = torch.zeros(len(budgets), int(budgets.max()) + 1, dtype=torch.int32,
                                  device=ends.device)
        self.action = torch.full_like(self.tokens, -1, dtype=torch.int8)

    def add(self, s: State, y: Tensor, choice: Choice) -> None:
        self.tokens[s.row, s.step] = y.int()
        if choice.action is not None:
            self.action[s.row, s.step] = choice.action.to(torch.int8)
            f = choice.decision_rows
            self.decisions.append((s.row[f], s.step[f], choice.logp, choice.h,
                                   choice.distribution))

    def episodes(self, e: Tensor) -> list[Episode]:
        tokens, action, e = self.tokens.long().cpu(), self.action.cpu(), e.cpu()
        last = tokens[torch.arange(len(tokens)), torch.tensor(self.lengths) - 1]
        truncated = (~torch.isin(last, self.ends.cpu())).tolist()
        counts, per_row = [0] * len(tokens), []
        if self.decisions:
            row, *fields = (torch.cat(x).cpu() for x in zip(*self.decisions))
            order = row.argsort(stable=True)                              # by row, then by step
            counts = row.bincount(minlength=len(tokens)).tolist()
            per_row = list(zip(*(x[order].split(counts) for x in fields)))
        nothing = (torch.zeros(0, dtype=torch.long), torch.zeros(0), e[:0], torch.zeros(0, 0))
        return [Episode(i // self.n, i % self.n, budget, y[:length], truncated[i], e_i, a[:length],
                        *(per_row[i] if counts[i] else nothing))
                for i, (length, budget, y, a, e_i) in enumerate(
                    zip(self.lengths, self.budgets, tokens, action, e))]

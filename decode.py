"""Sampling and the decode loop: a policy picks a sampling strategy for every row at every token.

A *strategy* is four numbers: temperature, top-k, top-p, min-p. A *policy* is a callable: before
each token it sees the `State` of all rows and returns a `Choice` of strategies. Static baselines,
the sequence-level and the token-level adapter differ only in who chooses, and when.

    e = h_0 = LM(prompt)                                       prefill, once a prompt
    for t = 0 .. T-1:
        s_t ~ policy(e, h_t, p_t, b_t);  y_t ~ probs(logits_t, s_t)        strategy, then token
        h_{t+1}, logits_{t+1} = LM(y_t)                        one cached forward pass

`rollout_simple` is this loop as it stands. `rollout` gives the same episodes sooner: when a row
ends, another one takes its slot in the batch (batch.py).

Each row draws from a random stream of its own: its uniform at step t is a hash of (seed, the text
of the prompt, number of the sample, t), so a completion does not depend on its neighbours in the
batch (utils/random_streams.py).

Deviations from the paper: (1) its pool of 180 strategies is not published; `strategy_pool` is ours.

| symbol | meaning | shape |
|---|---|---|
| N, n, R, V, d | prompts, samples a prompt, rows of the batch, vocabulary, hidden size | |
| T, b_t | token budget; tokens left, b_t = T - t | (R,) |
| e, h_t | last-layer hidden state at the last prompt token, and before token t | (R, d) |
| y_t, F | token; how many of an episode's tokens are decisions of the policy | (R,) |
"""
import functools
import itertools
from dataclasses import dataclass
from typing import Callable, NamedTuple

import torch
from torch import Tensor

from batch import Batch, State
from lm import LM
from utils.errors import UserError
from utils.fast_filters import rank_few
from utils.growing import GrowingRows
from utils.profiling import clock
from utils.random_streams import prompt_key, row_keys, uniform_table


# ---- strategies and the sampler -----------------------------------------------------------------
class Strategy(NamedTuple):
    """How to sample a token. Temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 are off."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __str__(self) -> str:
        if self.temperature == 0:
            return "greedy"
        text = f"tau={self.temperature:g}"
        for name, value, off in zip(("k", "p", "min-p"), self[1:], Strategy()[1:]):
            if value != off:
                text += f" {name}={value:g}"
        return text


GREEDY = Strategy(0.0)


def strategy_pool() -> list[Strategy]:
    """180 strategies: 5 temperatures x 3 top-k x 3 top-p x 4 min-p (ours: the paper names none)."""
    grid = itertools.product(
        (0.5, 0.75, 1.0, 1.25, 1.5), (2, 8, 0), (0.8, 0.95, 1.0), (0.3, 0.1, 0.03, 0.0))
    pool = [Strategy(*values) for values in grid]
    pool[0] = GREEDY            # the coldest, narrowest corner, which is greedy in all but name
    return pool


def check_strategies(strategies: Tensor) -> None:
    """Raises UserError if a number of the strategies (R, 4) is out of its range, or NaN."""
    temperature, top_k, top_p, min_p = strategies.unbind(1)
    good = (temperature >= 0) & (top_k >= 0) & (top_k == top_k.round())
    good &= strategies.isfinite().all(1)
    good &= (top_p >= 0) & (top_p <= 1) & (min_p >= 0) & (min_p <= 1)
    if not good.all():
        bad = Strategy(*strategies[~good][0].tolist())
        raise UserError(f"no strategy: {bad!r} (k is a whole number, p and min-p are 0 to 1)")


def has_filters(strategies: Tensor) -> bool:
    """Does any of the strategies (R, 4) have top-k or top-p on?"""
    return bool(((strategies[:, 1] > 0) | (strategies[:, 2] < 1)).any())


COLDEST = 1e-30        # a lower temperature is greedy (ours: logits divided by it overflow fp32)
# Up to this vocabulary size the full sort is faster, beyond it `rank_few`. On one core, in ms: 0.3
# against 0.5 for 512 x 24 logits, 3 against 2 for 64 x 1,000, 280 against 13 for 64 x 49,152. The
# vocabulary alone decides, so that a row's probabilities do not depend on the other rows.
FULL_SORT = 1000


def probs(logits: Tensor, strategies: Tensor, filters: bool = True) -> Tensor:
    """Next-token probabilities (R, V) of logits (R, V) under one strategy a row (R, 4).

    The order is that of transformers' warpers: temperature, top-k, top-p, min-p, each on what the
    one before has left. Temperature 0 puts all mass on the arg-max. filters: see `Choice`.
    """
    # assignment 1
    temperature, top_k, top_p, min_p = strategies.unsqueeze(-1).unbind(1)
    greedy = temperature < COLDEST
    x = logits.float() / temperature.masked_fill(greedy, 1.0)                        # (R, V)
    if filters and x.shape[1] <= FULL_SORT:
        x = top_k_top_p(x, top_k.long(), top_p)
    elif filters:
        x = rank_few(top_k_top_p, x, top_k.long(), top_p)
    # Min-p: drop what is less likely than min_p times the most likely token
    p = x.softmax(-1)                                                                # (R, V)
    p = p.masked_fill(p < min_p * p.amax(-1, keepdim=True), 0.0)
    p = p / p.sum(-1, keepdim=True)
    # Greedy rows put all mass on the arg-max; NaN stays NaN, so that `rollout` can stop at it
    best = torch.zeros_like(p).scatter_(1, logits.argmax(-1, keepdim=True), 1.0)
    return torch.where(greedy & ~p[:, :1].isnan(), best, p)


def top_k_top_p(x: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Logits x (R, V) with -inf for what top-k (R, 1), then top-p (R, 1) leave out."""
    # assignment 1
    V = x.shape[1]
    ranked, order = x.sort(dim=-1, descending=True, stable=True)                     # (R, V)
    # Top-k: drop what is smaller than the k-th largest; whatever ties with it stays
    k = torch.where(top_k > 0, top_k, V).clamp(max=V)
    kth = ranked.gather(1, k - 1)                                                    # (R, 1)
    x = x.masked_fill(x < kth, -torch.inf)
    # Top-p: drop a token if those ranked before it hold p of the mass; the first always stays
    p = x.softmax(-1).gather(1, order)                                               # (R, V)
    before = p.cumsum(-1) - p
    drop = (before >= top_p) & (top_p < 1)
    drop[:, 0] = False
    # From the order of ranks back to that of the vocabulary
    return x.masked_fill(drop.scatter(1, order, drop), -torch.inf)


def sample(p: Tensor, u: Tensor) -> Tensor:
    """Inverse CDF: tokens (R,) from probabilities (R, V) and uniforms (R,) in [0, 1)."""
    cdf = p.cumsum(-1)                                         # ends at 1, but for rounding
    y = torch.searchsorted(cdf, u[:, None] * cdf[:, -1:], right=True).squeeze(1)
    return y.clamp(max=p.shape[1] - 1)                         # V, which is no token, if p is NaN


# ---- what flows between the loop and a policy ---------------------------------------------------
@dataclass
class Choice:
    """What a policy returns. One that learns fills all fields; the last five are recorded."""
    strategies: Tensor                     # (R, 4)
    filters: bool = True                   # False: no row has top-k or top-p on; nothing is ranked
    action: Tensor | None = None           # (R,) -1 where the policy names none
    decision_rows: Tensor | None = None    # (F,) indices into the R rows: where the policy decides
    logp: Tensor | None = None             # (F,) log-probability of the action
    h: Tensor | None = None                # (F, d)
    distribution: Tensor | None = None     # (F, K) features of the next-token distribution


Policy = Callable[[State], Choice]
OnEnd = Callable[[int, Tensor], object]                       # (row, its tokens)
OnStep = Callable[[State, Choice, Tensor, Tensor], object]    # (state, choice, p (R, V), y (R,))


@dataclass
class Episode:
    """One sampled completion of T tokens; F of them are decisions, which count in the loss."""
    prompt: int
    sample: int
    budget: int
    tokens: Tensor                     # (T,) ids, the end token included
    truncated: bool                    # it ran out of tokens, which is terminal
    e: Tensor                          # (d,)
    action: Tensor                     # (T,) -1 where the policy names none
    decision_steps: Tensor             # (F,) steps of the decisions
    logp: Tensor                       # (F,) at sampling time
    h: Tensor                          # (F, d)
    distribution: Tensor               # (F, K)
    reward: float | list[float] = 0.0  # a list: one a token budget, of a static strategy

    @property
    def tokens_left(self) -> Tensor:   # (F,) b_t at the decisions
        return self.budget - self.decision_steps


def static(strategies: Tensor) -> Policy:
    """The policy that gives row i strategies[i] at every token; (N * n, 4), or (1, 4) for all."""
    check_strategies(strategies)
    filters = has_filters(strategies)
    on_device = functools.cache(strategies.to)               # copied to the LM's device once

    def policy(state: State) -> Choice:
        return Choice(of_rows(on_device(state.row.device), state.row), filters)

    return policy


def of_rows(strategies: Tensor, row: Tensor) -> Tensor:
    """The strategies (R, 4) of rows (R,), from (N * n, 4), one a row of the call, or (1, 4)."""
    if len(strategies) == 1:
        return strategies.expand(len(row), -1)
    return strategies[row]


# ---- the loop -----------------------------------------------------------------------------------
def check_arguments(prompts: list[list[int]], budgets: Tensor) -> None:
    if budgets.min() < 1:
        raise UserError(f"a token budget must be at least 1, not {int(budgets.min())}")
    if not all(prompts):
        raise UserError("a prompt has no tokens")


@torch.inference_mode()
def rollout_simple(lm: LM, prompts: list[list[int]], policy: Policy, budgets: Tensor, keys: Tensor,
                   n: int = 1, seed: int = 0) -> list[Episode]:
    """`rollout` without continuous batching: all N * n rows start together. NaN is not refused."""
    check_arguments(prompts, budgets)
    row = torch.arange(len(budgets))
    streams = row_keys(seed, keys.repeat_interleave(n), row % n)
    draws = uniform_table(streams, int(budgets.max()))                        # (R, 2, T + 1)
    record = EpisodeRecorder(budgets, n, lm.ends)
    # Read each row's prompt, padded on the left; the cache keeps its keys and values
    logits, cache, mask = lm.prefill([prompts[i // n] for i in row.tolist()])
    e = lm.h                                                                  # (R, d)
    position = mask.sum(-1)                  # of the next token; padding has no position
    state = State(row=row.to(lm.device), tokens_left=budgets.to(lm.device), logits=logits, h=e, e=e,
                  step=torch.zeros_like(position), position=position, uniforms=draws.to(lm.device))
    while (state.tokens_left > 0).any():
        # Choose a strategy for each row, and draw each row's token
        choice = policy(state)
        p = probs(state.logits, choice.strategies, choice.filters)
        y = sample(p, state.uniform(0))
        record.add(state, y, choice)
        # A row ends at an end token or without tokens left; what it draws later, nobody reads
        running = state.tokens_left > 0
        state.step = state.step + running
        left = state.tokens_left - running.long()
        state.tokens_left = left.masked_fill(torch.isin(y, lm.ends), 0)
        # Read the drawn tokens: one more column in the cache and in its mask
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        state.logits = lm.forward(y[:, None], state.position[:, None], mask, cache)
        state.h = lm.h
        state.position = state.position + (state.tokens_left > 0)     # an ended row stays
    record.lengths = state.step.tolist()
    return record.episodes(e)


@torch.inference_mode()
def rollout(lm: LM, prompts: list[list[int]], policy: Policy, budgets: Tensor, keys: Tensor,
            n: int = 1, seed: int = 0, rows: int = 512,
            on_end: OnEnd | None = None, on_step: OnStep | None = None) -> list[Episode]:
    """Samples n completions a prompt; episodes in the order (prompt, sample).

    budgets: (N * n,) token budget of each row, at least 1. keys: (N,) from `prompt_key`.
    rows: how many decode at once; the episodes do not depend on it (exactly so in fp32).
    on_end(row, tokens): called as soon as a row has ended, while others go on.
    on_step(state, choice, p, y): called at each step; tokens y (R,) were drawn from p (R, V).
    Raises UserError for an empty prompt, a budget below 1, and logits that are NaN.
    """
    check_arguments(prompts, budgets)
    streams = row_keys(seed, keys.repeat_interleave(n), torch.arange(len(budgets)) % n)

    def draw(rows: Tensor) -> Tensor:         # as rows enter: a table of all would be large
        return uniform_table(streams[rows], int(budgets.max()))               # (k, 2, T + 1)

    with clock("bookkeeping"):
        batch = Batch(lm, prompts, budgets, draw, n, rows)
        record = EpisodeRecorder(budgets, n, lm.ends)
        while batch.running.any():
            state = batch.state
            # Choose a strategy for each row, and draw each row's token
            with clock("policy"):
                choice = policy(state)
            with clock("sampling"):
                p = probs(state.logits, choice.strategies, choice.filters)    # (R, V)
                y = sample(p, state.uniform(0))                               # (R,)
            record.add(state, y, choice)
            if on_step is not None:
                on_step(state, choice, p, y)
            # Read the drawn tokens; rows that wait take the slots of rows that have ended
            for row, length in batch.advance(y, p[:, 0].isnan()):
                record.lengths[row] = length
                if on_end is not None:
                    on_end(row, record.tokens[row, :length].long().cpu())
        lm.kv_cache = batch.kv_cache                      # the next call uses its memory again
        return record.episodes(batch.e)


def generate(lm: LM, prompts: list[str], policy: Policy, budgets: int | Tensor, n: int = 1,
             seed: int = 0, rows: int = 512,
             on_end: OnEnd | None = None, on_step: OnStep | None = None) -> list[Episode]:
    """`rollout` of text, put as `LM.set_prompt_format` says; budgets: one for all, or (N * n,)."""
    ids = [lm.encode(prompt) for prompt in prompts]
    keys = torch.tensor([prompt_key(prompt) for prompt in prompts])
    budgets = torch.as_tensor(budgets).expand(len(prompts) * n)
    return rollout(lm, ids, policy, budgets, keys, n=n, seed=seed, rows=rows,
                   on_end=on_end, on_step=on_step)


class EpisodeRecorder:
    """Collects what every row draws, on the LM's device until the end."""

    def __init__(self, budgets: Tensor, n: int, ends: Tensor):
        """budgets: (N * n,). ends: the tokens that end a completion."""
        self.budgets = budgets.tolist()
        self.n = n
        self.ends = ends
        self.lengths = [0] * len(budgets)       # of the completions: the loop fills them in
        # One column more, T, for what a slot draws after its row has used up the whole budget
        self.tokens = torch.zeros(len(budgets), int(budgets.max()) + 1, dtype=torch.int32,
                                  device=ends.device)
        self.action = torch.full_like(self.tokens, -1, dtype=torch.int8)
        # The row and the step of each decision, its logp, h and distribution
        self.decisions = GrowingRows()

    def add(self, state: State, y: Tensor, choice: Choice) -> None:
        """Records one step of R rows: their tokens y (R,) and the choice behind them."""
        self.tokens[state.row, state.step] = y.int()
        if choice.action is not None:
            self.action[state.row, state.step] = choice.action.to(torch.int8)
            f = choice.decision_rows
            what: tuple = choice.logp, choice.h, choice.distribution
            self.decisions.add(state.row[f], state.step[f], *what)

    def episodes(self, e: Tensor) -> list[Episode]:
        """The episodes of all rows, in the order (prompt, sample). e: (N * n, d)."""
        tokens = self.tokens.long().cpu()
        action = self.action.cpu()
        e = e.cpu()
        ends = set(self.ends.tolist())
        episodes = []
        for row, (steps, logp, h, distribution) in enumerate(self._decisions_of_rows(e)):
            length = self.lengths[row]
            completion = tokens[row, :length]
            episodes.append(Episode(
                prompt=row // self.n, sample=row % self.n, budget=self.budgets[row],
                tokens=completion, truncated=int(completion[-1]) not in ends, e=e[row],
                action=action[row, :length], decision_steps=steps, logp=logp, h=h,
                distribution=distribution))
        return episodes

    def _decisions_of_rows(self, e: Tensor) -> list[tuple[Tensor, ...]]:
        """Of each row's decisions: steps (F,), logp (F,), h (F, d), distribution (F, K)."""
        if not self.decisions.fields():
            nothing = (torch.zeros(0, dtype=torch.long), torch.zeros(0), e[:0], torch.zeros(0, 0))
            return [nothing] * len(self.lengths)
        row, *fields = [x.cpu() for x in self.decisions.fields()]
        # Sort them by row; the sort is stable, so a row's decisions stay in the order of steps
        order = row.argsort(stable=True)
        counts = row.bincount(minlength=len(self.lengths)).tolist()
        return list(zip(*(field[order].split(counts) for field in fields)))

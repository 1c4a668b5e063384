"""The running batch: which rows decode now, and where their keys and values lie.

A row is one sample of one prompt. Rows end at different steps, and a batch that waits for its
longest one wastes most slots. Here a waiting row enters when another has ended (continuous
batching, Yu et al. 2022):

    waiting    rows that have not started, those with the same beginning of their prompts together
    slots      R rows that decode at once; when the row of a slot has ended, a waiting row enters
    KV cache   the keys and values of all slots (utils/kv_cache.py), in each layer
               (R, KV heads, capacity, head size)

A step copies nothing. The cache is allocated once, and every slot writes its next key and value
into the same column, `used`. The LM sees the columns from `first` to `used`; a mask hides those
that hold no token of the slot's own row, and positions count tokens, not columns.

An example: two slots; rows a, b, c with 2, 3, 2 prompt tokens, which end after 2, 4, 3 tokens. A
capital letter is a prompt's token, a small one a sampled token, _ is the column `used`.

                step 0           step 2               step 4
    column      0 1 2 3 4 5 6    0 1 2 3 4 5 6        0 1 2 3 4 5 6 7
    slot 0      . A A _          . . . C C _          . . . C C c c _
    slot 1      B B B _          B B B b b _          closed

    step 0, 1   a and b sample two tokens each. The second one of a is its last.
    step 2, 3   c has entered slot 0, its prompt just before `used` = 5. b samples its last token.
    step 4      No row waits, so slot 1 is closed. `first` is 3 now. c samples its last token.

These are 5 steps for 9 tokens; {a, b} as one batch and then {c} would take 4 + 3 = 7. When `used`
reaches the end of the cache, all rows move back to its start.

Shapes: N prompts of at most P tokens, n samples a prompt, T, V, d as in decode.py; R slots; k rows
that enter together, with m different prompts.
"""
from dataclasses import dataclass
from typing import Callable

import torch
from torch import Tensor
from transformers import DynamicCache

from lm import LM
from utils.errors import UserError
from utils.kv_cache import KVCache, cache_length
from utils.prefixes import shared_prefixes

PREFILL_TOKENS = 32768     # at most, in one prefill (ours: a 4 B's widest layer makes 2 GB of them)


@dataclass
class State:
    """The R slots before a token, on the LM's device: what a policy sees. A slot keeps an ended row
    until another one enters, and samples on for it: tokens that nobody reads."""
    row: Tensor            # (R,) which rows of the call these are
    tokens_left: Tensor    # (R,) b_t; 0 where the row has ended
    logits: Tensor         # (R, V)
    h: Tensor              # (R, d)
    e: Tensor              # (R, d)
    step: Tensor           # (R,) t
    position: Tensor       # (R,) of the next token in its row, the prompt included
    uniforms: Tensor       # (R, 2, T + 1) of each row's own random streams, for all its steps

    def uniform(self, stream: int) -> Tensor:
        """(R,) in [0, 1) for this step. Stream 0 samples tokens, stream 1 is the policy's own."""
        return self.uniforms[:, stream].gather(1, self.step[:, None]).squeeze(1)


def take_cache(lm: LM, like: DynamicCache, slots: int, capacity: int) -> KVCache:
    """The cache of the LM's last rollout if it is large enough (a new one is slow to allocate).

    Until `rollout` hands it back, the LM has none: a rollout within a rollout allocates its own.
    """
    cache = lm.kv_cache
    lm.kv_cache = None
    if cache is not None and cache.has_room(slots, capacity):
        return cache
    del cache                                    # free the old one before allocating another one
    return KVCache(like, slots, capacity)


class Batch:
    """R slots and the rows that wait for them; `state` is what is known before the next token."""

    def __init__(self, lm: LM, prompts: list[list[int]], budgets: Tensor,
                 draw: Callable[[Tensor], Tensor], n: int, rows: int):
        """n rows a prompt, in order, at most `rows` of them at once. budgets: (N * n,).
        draw(rows (k,)): their uniforms, (k, 2, T + 1)."""
        self.lm = lm
        self.prompts = prompts
        self.budgets = budgets
        self.draw = draw
        self.n = n
        order, shared = shared_prefixes(prompts)
        self.prefixes = [prompt[:length] if lm.skips_gaps else []
                         for prompt, length in zip(prompts, shared)]
        self.waiting = [i * n + j for i in order for j in range(n)]
        R = min(rows, len(self.waiting))
        T = int(budgets.max())

        # The host's own notes on each slot, so that it need not ask the device: its row, whether
        # the row is running, how many tokens it has sampled, and where its padded prompt starts.
        self.row = torch.zeros(R, dtype=torch.long)                                      # (R,)
        self.running = torch.zeros(R, dtype=torch.bool)                                  # (R,)
        self.length = torch.zeros(R, dtype=torch.long)                                   # (R,)
        self.start = torch.zeros(R, dtype=torch.long)                                    # (R,)
        # The first prefill shows the sizes and dtypes of what all slots need.
        self.longest = max(map(len, prompts))
        first_rows, slots = self._select()
        source, logits, cache, mask = self._prefill(first_rows)
        capacity = self.longest + T
        if self.waiting:
            capacity = cache_length(capacity)              # rows will enter behind others
        self.kv_cache = take_cache(lm, cache, R, capacity)
        self.kv_cache.clear(self.longest)
        # A slot that no row has entered is at step T, behind every budget.
        zeros = torch.zeros(R, dtype=torch.long, device=lm.device)
        self.state = State(
            row=zeros.clone(), tokens_left=zeros.clone(), step=zeros + T, position=zeros.clone(),
            logits=logits.new_zeros(R, logits.shape[1]),
            h=lm.h.new_zeros(R, lm.d), e=lm.h.new_zeros(R, lm.d),
            uniforms=torch.zeros(R, 2, T + 1, device=lm.device))
        self.e = lm.h.new_zeros(len(budgets), lm.d)                                 # (N * n, d)
        self._install(first_rows, slots, source, logits, cache, mask)
        self._enter()

    def advance(self, y: Tensor, is_nan: Tensor) -> list[tuple[int, int]]:
        """Goes on by the tokens y (R,); returns (row, length) of the rows that ended.

        is_nan (R,) bool: the probabilities were NaN. Raises UserError if they were a running row's.
        """
        ended = self._end_rows(y, is_nan)
        if self.running.any():
            # The window begins where the first running row begins.
            self.kv_cache.window.first = int(self.start[self.running].min())
            y = self._close_slots(y)                       # may put rows into other slots
            self._make_room()
            self._forward(y)
        else:
            self.kv_cache.clear(self.longest)
        self._enter()
        return ended

    def _end_rows(self, y: Tensor, is_nan: Tensor) -> list[tuple[int, int]]:
        """Counts the tokens y, and notes which rows end with them; arguments as in `advance`."""
        # On the device: each running row has one token less, and none left after an end token.
        state = self.state
        going = (state.tokens_left > 0).long()
        left = state.tokens_left - going
        is_end = torch.isin(y, self.lm.ends)
        state.tokens_left = left.masked_fill(is_end, 0)
        state.step += going
        # On the host, which waits for the device here, and else only when rows enter or move.
        is_end, out_of_budget, is_nan = torch.stack([is_end, left == 0, is_nan]).cpu()  # (R,) each
        self.length += 1
        broken = self.running & is_nan
        if broken.any():
            self._stop(int(broken.nonzero()[0]))
        over = self.running & (is_end | out_of_budget)
        self.running = self.running & ~over
        return list(zip(self.row[over].tolist(), self.length[over].tolist()))

    def _enter(self) -> None:
        """Lets waiting rows enter when max(1, R / 8, min(n, R / 4)) slots are empty.

        Ours: a prefill costs a step or more, so it should fill an eighth of the slots; it should
        serve all n rows of a prompt, but no row should wait for more than a quarter of the slots.
        """
        R = len(self.row)
        enough = max(1, R // 8, min(self.n, R // 4))
        while self.waiting and int((~self.running).sum()) >= enough:
            rows, slots = self._select()
            source, logits, cache, mask = self._prefill(rows)
            self._install(rows, slots, source, logits, cache, mask)

    def _select(self) -> tuple[Tensor, Tensor]:
        """Which waiting rows (k,) enter which empty slots (k,): the first rows with one prefix."""
        # At most as many as slots are empty, all n rows of a prompt together where possible, and
        # no more prompts than one prefill reads.
        empty = (~self.running).nonzero().squeeze(1)
        count = len(empty)
        if count >= self.n:
            count -= count % self.n
        count = min(count, self.n * max(1, PREFILL_TOKENS // self.longest))
        rows = []
        prefix = self.prefixes[self.waiting[0] // self.n]
        for row in self.waiting[:count]:
            if self.prefixes[row // self.n] != prefix:
                break
            rows.append(row)
        del self.waiting[:len(rows)]
        return torch.tensor(rows), empty[:len(rows)]

    def _prefill(self, rows: Tensor) -> tuple[Tensor, Tensor, DynamicCache, Tensor]:
        """Reads the m different prompts of rows (k,): which of them is each row's (k,), and their
        logits (m, V), cache and mask (m, P); h (m, d) is left in lm.h."""
        which, source = (rows // self.n).unique(return_inverse=True)                # (m,), (k,)
        prompts = [self.prompts[i] for i in which]
        prefix = self.prefixes[which[0]]
        return source.to(self.lm.device), *self.lm.prefill(prompts, len(prefix))

    def _install(self, rows: Tensor, slots: Tensor, source: Tensor, logits: Tensor,
                 cache: DynamicCache, mask: Tensor) -> None:
        """Puts rows (k,), whose prompts have been read, into the slots (k,)."""
        self.row[slots] = rows
        self.running[slots] = True
        self.length[slots] = 0
        self.start[slots] = self.kv_cache.window.used - mask.shape[1]

        # A row's first logits and h are those of its prompt's last token, and that h is its e.
        device = self.lm.device
        state = self.state
        slots = slots.to(device)
        self.kv_cache.put(slots, cache, mask, source)
        state.row[slots] = rows.to(device)
        state.tokens_left[slots] = self.budgets[rows].to(device)
        state.logits[slots] = logits[source]
        state.h[slots] = self.lm.h[source]
        state.e[slots] = self.lm.h[source]
        state.step[slots] = 0
        state.position[slots] = mask.sum(1)[source]
        state.uniforms[slots] = self.draw(rows).to(device)
        self.e[state.row[slots]] = state.e[slots]

    def _close_slots(self, y: Tensor) -> Tensor:
        """While nothing waits, closes empty slots once an eighth is empty (ours: their copy costs a
        tenth of a step); returns the tokens y (R,) of those that stay."""
        count = int(self.running.sum())
        if self.waiting or count > 0.875 * len(self.row):
            return y
        # The running rows get the first `count` slots: those behind move into the gaps. With slots
        # a . b . c, count = 3, gaps = [1], movers = [4], kept = [0, 4, 2]: slot 4 becomes slot 1.
        gaps = (~self.running[:count]).nonzero().squeeze(1)
        movers = count + self.running[count:].nonzero().squeeze(1)
        kept = torch.arange(count)
        kept[gaps] = movers                              # new slot i is the old slot kept[i]
        self.row = self.row[kept]
        self.running = self.running[kept]
        self.length = self.length[kept]
        self.start = self.start[kept]
        kept = kept.to(self.lm.device)
        self.kv_cache.move(movers.to(self.lm.device), gaps.to(self.lm.device))
        self.state = State(**{name: x[kept] for name, x in vars(self.state).items()})
        return y[kept]

    def _make_room(self) -> None:
        """Moves all rows towards the start of the cache when it is full.

        `used` stays at least at `longest`, since the prompt of a row that enters lies before it.
        There is always room to move: no running row is as long as the cache.
        """
        cache = self.kv_cache
        window = cache.window
        if window.used == cache.mask.shape[1]:
            distance = min(window.first, window.used - self.longest)
            cache.shift_left(distance, len(self.row))
            self.start -= distance

    def _forward(self, y: Tensor) -> None:
        """Passes one token a slot, y (R,), through the LM, which writes column `used`."""
        R = len(y)
        state = self.state
        cache = self.kv_cache
        window = cache.window
        # assignment 2
        # From now on the column counts as text, so that the token sees itself.
        cache.mask[:, window.used] = True
        seen = cache.mask[:R, window.first:window.used + 1]              # (R, used + 1 - first)
        state.logits = self.lm.forward(y[:, None], state.position[:, None], seen, cache)
        state.h = self.lm.h
        # The position of an ended row stays: the LM may have none beyond it.
        state.position += state.tokens_left > 0
        window.used += 1

    def _stop(self, slot: int) -> None:
        prompt, sample = divmod(int(self.row[slot]), self.n)
        place = f"at token {self.length[slot]} of sample {sample} of prompt {prompt} of this call"
        if self.state.logits[slot].amax().isfinite():
            raise UserError(f"the policy's strategy leaves no token {place}: is its min-p above 1?")
        raise UserError(f"{self.lm.name}: its logits are no numbers (NaN) {place}; nothing is "
                        "trained on it. In half precision try --dtype float32")

"""The running batch: which rows decode now, and where their keys and values lie.

    queue     the rows that wait, prompts with the same beginning together
    places    R rows that decode; where one ends, the next one of the queue enters
    belt      keys and values of all places, (R, heads, capacity, head size) in each layer

A text lies in the columns of the belt before the column `used`, into which every place writes its
next token, in place. So rows of any age are one batch, and nothing is copied when one enters or
ends. `first` is where the longest text starts; what lies before it is not looked at. Prompts that
share their beginning are padded behind it: the mask hides the gap, and positions count tokens.

    place 0    . . P P P P y y y y _ . .         P: its prompt, y: its text, _: the next token
    place 1    P P P y y y y y y y _ . .
    place 2    . . . . . . P P P y _ . .         entered one step ago
               first               used   capacity

When `used` comes to the end, the texts move back to the start: once in a quarter of a text's
length, since the belt is a quarter longer than the longest text (ours: the copy costs a step or
two). While nothing waits, the places that ended are closed by eighths.

Shapes: R places, N prompts of at most P tokens, V, d as in decode.py.
"""
import itertools
import os
from dataclasses import dataclass
from typing import Any, Callable

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lm import LM, cache_length, tensors
from utils.errors import UserError
from utils.profiling import clock


# ---- keys and values ----------------------------------------------------------------------------
@dataclass
class Window:
    """Shared by the belt and its layers. A reference from the layers to the belt would be a cycle,
    and a belt's memory would wait for the garbage collector."""
    first: int
    used: int


class CacheLayer(DynamicLayer):
    """One layer's part of the belt."""

    def __init__(self, like: tuple[Tensor, Tensor], places: int, capacity: int, span: Window):
        super().__init__()
        self.dtype, self.device, self.is_initialized = like[0].dtype, like[0].device, True
        # Zeros: what has no weight in the attention must still be a number.
        self.span, self.store = span, [old.new_zeros(places, old.shape[1], capacity, old.shape[3])
                                       for old in like]

    def get_seq_length(self) -> int:
        return self.span.used - self.span.first

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any,
               **kwargs: Any) -> tuple[Tensor, Tensor]:
        """(R, heads, 1, head size) in, (R, heads, used + 1 - first, head size) out."""
        R, first, used = len(key_states), self.span.first, self.span.used
        for store, new in zip(self.store, (key_states, value_states)):
            store[:R, :, used] = new[:, :, 0]
        keys, values = (store[:R, :, first:used + 1] for store in self.store)
        return keys, values


class KVCache:
    """Keys and values of all places. `cache` is what transformers gets to see of it."""

    def __init__(self, like: DynamicCache, places: int, capacity: int, used: int):
        """like: a cache of the LM, for its shapes. used: at least any prompt's length."""
        self.span = Window(used, used)
        self.slots = [CacheLayer(layer, places, capacity, self.span) for layer in tensors(like)]
        self.mask = torch.zeros(places, capacity, dtype=torch.bool, device=self.slots[0].device)
        self.cache = DynamicCache()
        self.cache.layers = [*self.slots]
        clock.note("keys and values", sum(store.nbytes for slots in self.slots
                                          for store in slots.store))

    @classmethod
    def of(cls, lm: LM, like: DynamicCache, places: int, capacity: int, used: int) -> "KVCache":
        """The LM's last belt, emptied, where it is large enough; else a new one in its place."""
        belt, lm.kv_cache = lm.kv_cache, None                # `rollout` hands it back where all went well
        if belt is None or len(belt.mask) < places or belt.mask.shape[1] < capacity:
            belt = None                              # the old one's memory goes first
            return cls(like, places, capacity, used)
        belt.mask[:], belt.span.first, belt.span.used = False, used, used
        return belt

    def put(self, places: Tensor, cache: DynamicCache, mask: Tensor, rows: Tensor) -> None:
        """Texts `rows` (k,) of another cache, with its mask (N, P), into `places` (k,)."""
        columns = slice(self.span.used - mask.shape[1], self.span.used)
        self.mask[places] = False
        self.mask[places, columns] = mask[rows]
        for slots, other in zip(self.slots, tensors(cache)):
            for store, new in zip(slots.store, other):
                store[:, :, columns].index_copy_(0, places, new.index_select(0, rows))

    def move(self, places: Tensor, sources: Tensor) -> None:
        """What lies in the places `sources` (k,), into `places` (k,)."""
        columns = slice(self.span.first, self.span.used)
        self.mask[places] = self.mask[sources]
        for slots in self.slots:
            for store in slots.store:
                store[:, :, columns].index_copy_(0, places, store[sources, :, columns])

    def back(self, used: int, R: int) -> int:
        """Moves the R places' texts back so that they end before column `used`; by how many?"""
        span = self.span
        by, columns = span.used - used, slice(span.first, span.used)
        to = slice(span.first - by, used)
        self.mask[:, to] = self.mask[:, columns].clone()
        for slots in self.slots:
            for store in slots.store:
                store[:R, :, to] = store[:R, :, columns].clone()
        span.first, span.used = span.first - by, used
        return by


# ---- rows ---------------------------------------------------------------------------------------
@dataclass
class State:
    """The R places before a token, on the LM's device; what a policy sees."""
    row: Tensor        # (R,) which rows of the call these are
    tokens_left: Tensor       # (R,) b_t, tokens left; 0: the row has ended, and its place goes on drawing
    #                    until another enters, into the column behind its text, which nobody reads
    logits: Tensor     # (R, V)
    h: Tensor          # (R, d)
    e: Tensor          # (R, d)
    step: Tensor       # (R,) t
    position: Tensor   # (R,) of the next token in its text, the prompt included
    draws: Tensor      # (R, 2, T + 1) uniforms of the rows' own streams, for all their steps

    def uniform(self, stream: int) -> Tensor:
        """(R,) in [0, 1) for this step. Streams: 0 draws tokens, 1 is the policy's own."""
        return self.draws[:, stream].gather(1, self.step[:, None]).squeeze(1)

    def at(self, places: Tensor) -> "State":
        return State(*(x[places] for x in vars(self).values()))

    def put(self, places: Tensor, other: "State") -> None:
        for name, value in vars(self).items():
            value[places] = getattr(other, name)


LEAST = 16      # tokens that prompts must share (ours: fewer are not worth a prefill of their own)
PREFILL = 32768       # tokens in one (ours: a 4 B's widest layer makes 2 GB of them)


def beginnings(prompts: list[list[int]]) -> tuple[list[int], list[int]]:
    """The prompts' order, same beginnings together, and how many tokens each shares with those.

    A group of neighbours ends where two of them share less than half (another style of prompt).
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    groups, shared = [order[:1]], [0] * len(prompts)
    for a, b in itertools.pairwise(order):
        if 2 * len(os.path.commonprefix([prompts[a], prompts[b]])) < len(prompts[b]):
            groups.append([])
        groups[-1].append(b)
    for group in groups:
        common = len(os.path.commonprefix([prompts[group[0]], prompts[group[-1]]]))   # in order
        common = min([common] + [len(prompts[i]) - 1 for i in group])     # the last token: logits
        for i in group:
            shared[i] = common if len(group) > 1 and common >= LEAST else 0
    return order, shared


class Batch:
    state: State                       # these three from the first rows on
    kv_cache: KVCache
    e: Tensor                          # (N * n, d)

    def __init__(self, lm: LM, prompts: list[list[int]], budgets: Tensor,
                 draw: Callable[[Tensor], Tensor], n: int, rows: int):
        """n rows a prompt, in order, at most `rows` at once; budgets: (N * n,).

        draw(rows (k,)): their uniforms, (k, 2, T + 1).
        """
        self.lm, self.prompts, self.budgets, self.draw, self.n = lm, prompts, budgets, draw, n
        order, self.shared = beginnings(prompts)
        self.queue = [i * n + j for i in order for j in range(n)]
        # On the host, so that no step asks the device: the row in each place, whether it goes on,
        # the first column of its text, and `now`, the steps so far, when it entered; (R,) each.
        self.rows = torch.zeros(min(rows, len(self.queue)), dtype=torch.long)
        self.running = torch.zeros_like(self.rows).bool()
        self.start, self.since, self.now = self.rows.clone(), self.rows.clone(), 0
        self.longest = max(map(len, prompts))
        texts = self.longest + int(budgets.max())
        self.capacity = cache_length(texts) if len(self.queue) > rows else texts
        self._enter()

    def advance(self, y: Tensor, broken: Tensor) -> list[tuple[int, int]]:
        """Goes on by the tokens y (R,), and lets waiting rows in; which rows ended, at what length?

        broken (R,) bool: the LM's logits were no numbers. Raises UserError for such a row.
        """
        s = self.state
        going = (s.tokens_left > 0).long()
        s.step += going
        s.tokens_left = torch.where(broken, -1, (s.tokens_left - 1) * ~torch.isin(y, self.lm.ends)) * going
        left = s.tokens_left.cpu()       # the one wait for the device, unless rows enter or places close
        self.now, over, running = self.now + 1, self.running & (left <= 0), left > 0
        if over.any():
            ended = list(zip(self.rows[over].tolist(), (self.now - self.since[over]).tolist()))
            if (left < 0).any():
                self._stop(*ended[int(left[over].argmin())])
        self.running = running
        if running.any():
            self.kv_cache.span.first = int(self.start[running].min())
            self._forward(self._close(y))
        self._enter()
        return ended if over.any() else []

    def _enter(self) -> None:
        """Waiting rows into the empty places, once an eighth is empty (ours: a prefill costs a step
        or more), or enough for a prompt's n rows, up to a quarter."""
        R = len(self.rows)
        least = max(1, R // 8, min(self.n, R // 4))
        while self.queue and int((~self.running).sum()) >= least:
            self._enter_some()

    def _enter_some(self) -> None:
        """One prefill: the next rows of the queue whose prompts share their beginning."""
        R, empty = len(self.rows), (~self.running).nonzero().squeeze(1)
        count = len(empty) // self.n * self.n or len(empty)
        count = min(count, self.n * max(1, PREFILL // self.longest))
        start = self._start(self.queue[0])
        rows = torch.tensor(list(itertools.takewhile(
            lambda i: self._start(i) == start, self.queue[:count])))                        # (k,)
        del self.queue[:len(rows)]
        which, local = (rows // self.n).unique(return_inverse=True)
        prompts = [self.prompts[i] for i in which]
        logits, cache, mask = self.lm.prefill(prompts, len(start))
        position = torch.tensor([len(p) for p in prompts])[local]
        there, left, local, position, draws = (
            x.to(self.lm.device) for x in
            (rows, self.budgets[rows], local, position, self.draw(rows)))
        state = State(there, left, logits[local], self.lm.h[local], self.lm.h[local],
                      torch.zeros_like(left), position, draws)
        places = empty[:len(rows)]
        if not hasattr(self, "kv_cache"):                                     # the first rows
            self.e = state.e.new_zeros(len(self.budgets), self.lm.d)
            self.state = State(*(x.new_zeros(R, *x.shape[1:]) for x in vars(state).values()))
            self.state.step += draws.shape[2] - 1           # places that no row has entered: T
            self.kv_cache = KVCache.of(self.lm, cache, R, self.capacity, self.longest)
        elif not self.running.any():
            self.kv_cache.span.first = self.kv_cache.span.used = self.longest
        self.rows[places], self.running[places], self.since[places] = rows, True, self.now
        self.start[places] = self.kv_cache.span.used - mask.shape[1]
        places = places.to(self.lm.device)
        self.e[there] = state.e
        self.state.put(places, state)
        self.kv_cache.put(places, cache, mask, local)

    def _start(self, row: int) -> list[int]:
        """The tokens that the row's prompt shares with its neighbours."""
        prompt = row // self.n
        return self.prompts[prompt][:0 if self.lm.by_column else self.shared[prompt]]

    def _close(self, y: Tensor) -> Tensor:
        """While nothing waits: fewer places once an eighth is empty (ours: that copies an eighth of
        the belt, some tenth of a step). The last rows move into the gaps; y (R,) with them."""
        R = int(self.running.sum())
        if self.queue or R > 0.875 * len(self.rows):
            return y
        places = torch.arange(len(self.rows))
        gaps = (~self.running[:R]).nonzero().squeeze(1)
        last = R + self.running[R:].nonzero().squeeze(1)
        places[gaps] = last
        places = places[:R]
        for name in ("rows", "running", "start", "since"):
            setattr(self, name, getattr(self, name)[places])
        gaps, last, places = (x.to(self.lm.device) for x in (gaps, last, places))
        self.kv_cache.move(gaps, last)
        self.state = self.state.at(places)
        return y[places]

    def _forward(self, y: Tensor) -> None:
        s, belt, span, R = self.state, self.kv_cache, self.kv_cache.span, len(y)
        if span.used == belt.mask.shape[1]:
            self.start -= belt.back(max(span.used - span.first, self.longest), R)
        # assignment 2
        belt.mask[:, span.used] = True
        s.logits = self.lm.forward(y[:, None], s.position[:, None],
                                   belt.mask[:R, span.first:span.used + 1], belt.cache)
        s.h = self.lm.h
        s.position += s.tokens_left > 0          # an empty place stays: some LMs have no position beyond
        span.used += 1

    def _stop(self, row: int, length: int) -> None:
        raise UserError(f"{self.lm.name}: its logits are no numbers (NaN) at token {length} of "
                        f"sample {row % self.n} of prompt {row // self.n} of this call; nothing is "
                        "trained on it. In half precision try --dtype float32")

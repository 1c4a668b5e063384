"""Where the keys and values of all slots lie: batch.py draws the picture and says when rows move.

Shapes: R slots, of which k get new rows, with m different prompts of at most P tokens.
"""
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from utils.profiling import clock


def cache_length(tokens: int) -> int:
    """Columns of a cache for rows of so many tokens: a quarter more, so that it is rarely full.

    (Ours: when it is full, all rows move back to its start, which costs a step or two.)
    """
    return tokens + tokens // 4


@dataclass
class Window:
    """Tokens lie in the columns first .. used - 1. The cache and its layers share one window. (A
    layer that referred to its cache would keep that in memory until Python collects garbage.)"""
    first: int
    used: int


class CacheLayer(DynamicLayer):
    """One layer's keys and values in all slots, as transformers' attention calls it."""
    keys: Tensor           # (R, KV heads, capacity, key size)
    values: Tensor         # (R, KV heads, capacity, value size)

    def __init__(self, like: Any, slots: int, capacity: int, window: Window):
        """like: a layer of the LM's own cache, for sizes and dtype."""
        super().__init__()
        self.window = window
        # Zeros, since what has no weight in the attention must still be a number.
        heads = like.keys.shape[1]
        self.keys = like.keys.new_zeros(slots, heads, capacity, like.keys.shape[3])
        self.values = like.values.new_zeros(slots, heads, capacity, like.values.shape[3])
        self.is_initialized = True             # transformers need not allocate at the first update

    def get_seq_length(self) -> int:
        return self.window.used - self.window.first

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any,
               **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Takes one token a slot, (R, heads, 1, size); gives (R, heads, used + 1 - first, size)."""
        R = len(key_states)
        used = self.window.used
        self.keys[:R, :, used] = key_states[:, :, 0]
        self.values[:R, :, used] = value_states[:, :, 0]
        seen = slice(self.window.first, used + 1)
        return self.keys[:R, :, seen], self.values[:R, :, seen]


class KVCache(DynamicCache):
    """Keys and values of all slots. mask (slots, capacity) is True where a row has a token."""

    def __init__(self, like: DynamicCache, slots: int, capacity: int):
        super().__init__()
        self.window = Window(0, 0)
        self.layers = [CacheLayer(layer, slots, capacity, self.window) for layer in like.layers]
        self.mask = torch.zeros(slots, capacity, dtype=torch.bool, device=like.layers[0].device)
        clock.note("keys and values", sum(x.nbytes for x in keys_and_values(self)))

    def has_room(self, slots: int, capacity: int) -> bool:
        return len(self.mask) >= slots and self.mask.shape[1] >= capacity

    def clear(self, used: int) -> None:
        """No row has tokens; the next one is written into the column `used`."""
        self.mask[:] = False
        self.window.first = used
        self.window.used = used

    def put(self, slots: Tensor, other: DynamicCache, mask: Tensor, source: Tensor) -> None:
        """Copies the rows `source` (k,) of another cache, with mask (m, P), into slots (k,)."""
        columns = slice(self.window.used - mask.shape[1], self.window.used)
        self.mask[slots] = False
        self.mask[slots, columns] = mask[source]
        for mine, theirs in zip(keys_and_values(self), keys_and_values(other)):
            mine[:, :, columns].index_copy_(0, slots, theirs.index_select(0, source))

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copies the slots `source` (k,) into the slots `target` (k,)."""
        columns = slice(self.window.first, self.window.used)
        self.mask[target] = self.mask[source]
        for x in keys_and_values(self):
            x[:, :, columns].index_copy_(0, target, x[source, :, columns])

    def shift_left(self, distance: int, R: int) -> None:
        """Moves the tokens of the first R slots to the left by `distance` columns."""
        old = slice(self.window.first, self.window.used)
        self.window.first -= distance
        self.window.used -= distance
        new = slice(self.window.first, self.window.used)
        # Old and new columns may overlap, so copy by way of a clone.
        self.mask[:, new] = self.mask[:, old].clone()
        for x in keys_and_values(self):
            x[:R, :, new] = x[:R, :, old].clone()


def keys_and_values(cache: DynamicCache) -> list[Tensor]:
    """Layer by layer: `check_architecture` lets no LM in that keeps anything else."""
    layers: list[Any] = cache.layers
    return [x for layer in layers for x in (layer.keys, layer.values)]

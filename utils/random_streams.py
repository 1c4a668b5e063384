"""Random numbers that name their row: every row of a rollout draws from a stream of its own.

    keys = row_keys(seed, prompt_keys, samples)          # (R,) one key a row
    u = uniforms(keys, step, stream=0)                   # (R,) the row's number for this step

The numbers are a hash of (seed, prompt, sample, step, stream). There is no generator whose state
moves on, so a row draws the same numbers whichever rows decode beside it, in one process or in
eight, and under every strategy, which pairs the strategies' rewards. R rows, T tokens.
"""
import hashlib

import torch
from torch import Tensor


def _mix(x: Tensor) -> Tensor:
    """Hashes int64 to int64: the finaliser of splitmix64 (Steele et al. 2014), whose products wrap.

    Its factors 0xBF58476D1CE4E5B9 and 0x94D049BB133111EB are written as negative int64.
    """
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def prompt_key(text: str) -> int:
    """63 bits that identify a prompt by its text, so that its place in a list does not matter."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def row_keys(seed: int, prompts: Tensor, samples: Tensor) -> Tensor:
    """Keys (R,) of the rows' streams, from the rows' prompt keys (R,) and sample numbers (R,)."""
    return _mix(_mix(prompts + _mix(torch.tensor(seed + 1))) + _mix(samples + 1))


def uniforms(keys: Tensor, step: Tensor, stream: int) -> Tensor:
    """Uniforms in [0, 1); keys and step broadcast. Stream 0 draws tokens, stream 1 actions."""
    bits = _mix(keys + _mix(2 * step + stream + 1))
    return ((bits >> 41) & 0x7FFFFF).float() / 2**23      # 23 bits: every value is exact in fp32


def uniform_table(keys: Tensor, T: int) -> Tensor:
    """The uniforms (R, 2, T + 1) of both streams of rows (R,), for the steps 0 .. T."""
    steps = torch.arange(T + 1)
    return torch.stack([uniforms(keys[:, None], steps, stream) for stream in (0, 1)], 1)

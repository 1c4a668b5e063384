"""Top-k and top-p for large vocabularies: rank the few best tokens before sorting all of them.

The sort of a whole vocabulary can take longer than a small LM's forward pass, and the tokens that
stay are mostly among the 256 best. `rank_few` applies the plain filter, `decode.top_k_top_p`, to
these alone where that keeps the same tokens, else to the 4,096 best, else to all.

A row's result does not depend on the other rows of the batch, on a CPU not even in its last bit:
each row uses the first size that is enough for itself. Candidates stay in the order of the
vocabulary, so that the plain filter breaks ties between them as it does between all tokens. (An
earlier version ranked as many tokens as the batch's widest row needed, in the order of `topk`. In
bf16, where many logits are tied, the kept tokens of 53 in 1,920 random rows then depended on their
neighbours; in fp32 of none.)

R rows, k of them not yet done, V vocabulary.
"""
from typing import Callable

import torch
from torch import Tensor

Filter = Callable[[Tensor, Tensor, Tensor], Tensor]      # (x (R, V), top_k (R, 1), top_p (R, 1))

SIZES = (256, 4096)       # how many candidates (ours: 16 times as many where 256 are too few)
ROWS = 64                 # rows in one full sort (ours: it takes eight times their logits' memory)


def rank_few(plain: Filter, x: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """What plain(x, top_k, top_p) returns, sooner: x (R, V) with -inf for what is left out."""
    out = x.clone()                                                                      # (R, V)
    filtered = (top_k > 0) | (top_p < 1)                                                 # (R, 1)
    rows = filtered.squeeze(1).nonzero().squeeze(1)             # (k,) those that are not yet done
    for size in SIZES:
        if size >= x.shape[1] or len(rows) == 0:
            break
        columns, kept, done = _among_best(plain, x[rows], top_k[rows], top_p[rows], size)
        # In the rows that are done, only candidates stay
        finished = rows[done]
        out[finished] = -torch.inf
        out[finished[:, None], columns[done]] = kept[done]
        rows = rows[~done]
    # The rows for which even 4,096 candidates were too few
    for start in range(0, len(rows), ROWS):
        some = rows[start:start + ROWS]
        out[some] = plain(x[some], top_k[some], top_p[some])
    return out


def _among_best(plain: Filter, x: Tensor, top_k: Tensor, top_p: Tensor,
                size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Applies the filter to the `size` best tokens of each row, the candidates.

    Returns their columns (k, size), their filtered logits (k, size), and which rows are done (k,):
    there the filter keeps the same of all V tokens.
    """
    best, columns = x.topk(size)                                                      # (k, size)
    columns = columns.sort(dim=-1).values
    # Top-p over all V tokens is top-(p / m) over the candidates, whose total probability is m. With
    # top-k on, all probability that is left lies among the candidates, so m = 1
    m = x.softmax(-1).gather(1, columns).sum(-1, keepdim=True)                           # (k, 1)
    share = torch.where(top_k > 0, top_p, top_p / m)
    kept = plain(x.gather(1, columns), top_k, share)                                  # (k, size)
    # A row is done if the last token that stays is better than the last candidate: then no token
    # beyond the candidates ties with it. With top-k on, that must hold for the k-th token, since
    # those that tie with it count in the mass of top-p
    kth = best.gather(1, (top_k - 1).clamp(min=0, max=size - 1))
    smallest = kept.masked_fill(kept == -torch.inf, torch.inf).amin(-1, keepdim=True)
    done = torch.where(top_k > 0, kth, smallest) > best[:, -1:]
    return columns, kept, done.squeeze(1)

"""Which prompts begin with the same tokens? So that the LM reads those once (batch.py)."""
import itertools
import os

MIN_SHARED = 16      # tokens (ours: fewer are not worth a prefill of their own)


def shared_prefixes(prompts: list[list[int]]) -> tuple[list[int], list[int]]:
    """An order that puts prompts with the same beginning together, and how many tokens each prompt
    (in the order given) shares with its group."""
    # In sorted order, a group ends where two neighbours share less than half of a prompt, as
    # between two styles of prompts.
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    groups = [order[:1]]
    for previous, current in itertools.pairwise(order):
        common = os.path.commonprefix([prompts[previous], prompts[current]])
        if 2 * len(common) < len(prompts[current]):
            groups.append([])
        groups[-1].append(current)

    # What the first and the last of a sorted group share, all of it share. The last token of a
    # prompt is not shared: its logits are needed.
    shared = [0] * len(prompts)
    for group in groups:
        common = os.path.commonprefix([prompts[group[0]], prompts[group[-1]]])
        shortest = min(len(prompts[i]) for i in group)
        length = min(len(common), shortest - 1)
        if len(group) > 1 and length >= MIN_SHARED:
            for i in group:
                shared[i] = length
    return order, shared

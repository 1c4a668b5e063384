"""Statistics that hold: intervals over problems and training seeds, paired, corrected, unbiased.

    python -m demos.bootstrap                  # how often the 95 % interval holds the truth

    values    v_{k,i}, what seed k earns on problem i (a Pass@B), or the difference of two policies
    draw      m* = sum_i c_i / P sum_k w_k v_{k,i},    c ~ Multinomial(P),  u ~ Multinomial(K),
              w_k = 1/K + sqrt(K / (K - 1)) (u_k - 1) / K
    interval  2.5 % to 97.5 % of 2,000 draws           p-value   2 Phi(-|m| / sd(m*))

The unit is the problem: its samples and budgets stay together. The factor in w is there because K
seeds, drawn again among themselves, show (K - 1) / K of their variance: two thirds at K = 3. One
seed shows none, and then the interval holds the problems alone.

Shapes: K seeds, P problems, S arms, n samples.

Deviations from the paper: (1) its intervals fit a binomial over all problems; ours pair.
"""
import functools
import math

import numpy as np

from bandit import pass_at

DRAWS = 2000                                               # ours: the ends are sure to 2 % or so


@functools.lru_cache
def _resamplings(K: int, P: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the seeds (draws, K) and of the problems (draws, P)."""
    # assignment 10
    rng = np.random.default_rng(0)
    u = rng.multinomial(K, np.full(K, 1 / K), draws)
    w = 1 / K + math.sqrt(K / max(K - 1, 1)) * (u - 1) / K
    return w, rng.multinomial(P, np.full(P, 1 / P), draws) / P


def resampled(values: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Means (draws,) of values (K, P), drawn again over seeds and problems.

    The same draws serve all policies of a table: what is compared is drawn alike.
    """
    # assignment 10
    by_seed, by_problem = _resamplings(*values.shape, draws)
    return (by_seed * (by_problem @ values.T)).sum(1)


def interval(values: np.ndarray, draws: int = DRAWS) -> tuple[float, float]:
    """95 % interval of the mean of values (K, P)."""
    low, high = np.quantile(resampled(values, draws), (0.025, 0.975))
    return float(low), float(high)


def p_value(values: np.ndarray) -> float:
    """Two-sided, that the mean of values (K, P) is 0. Normal: it can be far below 1 / DRAWS."""
    mean, sd = abs(values.mean()), resampled(values).std()
    return math.erfc(mean / sd / math.sqrt(2)) if sd > 1e-12 else float(mean == 0)


def holm(p: list[float]) -> list[float]:
    """Holm (1979): p-values that may all be looked at together.

    The i-th smallest of m becomes p_(i) (m - i + 1), and no less than what a smaller one became.
    """
    order, adjusted, least = np.argsort(p), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = least
    return adjusted


def oracle(table: np.ndarray, B: int) -> np.ndarray:
    """Pass@B (P,) of the arm that half of the samples name best; table (P, S, n), B <= n / 2.

    Scored on the other half, then the other way round: without bias for the arm that is named, and
    so too low for the best one. On the same samples luck would count as knowledge: too high.
    """
    half = table.shape[2] // 2
    values = [pass_at(part, B) for part in (table[..., :half], table[..., half:2 * half])]  # (P, S)
    rows = np.arange(len(table))
    scores = [score[rows, _first_best(choose)] for choose, score in (values, values[::-1])]
    return np.mean(scores, 0)


def _first_best(values: np.ndarray) -> np.ndarray:
    """The best arm (P,) of values (P, S); of equal ones that with the best average."""
    return (values + 1e-6 * values.mean(0)).argmax(1)

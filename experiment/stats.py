"""Statistics of the tables: a paired bootstrap over problems and seeds, Holm's correction.

    python -m demos.bootstrap              # how often the 95 % interval contains the true mean

    v[k, i]    what training seed k earns on problem i: a Pass@B, or the difference of two policies
    c[i]       how often one resample takes problem i: P problems, drawn with replacement
    u[k]       how often the resample takes seed k: K seeds, with replacement, independently of c
    w[k]       the weight of seed k:  1/K + sqrt(K / (K - 1)) (u[k] - 1) / K;  a single seed: 1
    mean*      the mean of one resample:  sum_i (c[i] / P) sum_k (w[k] v[k, i])
    interval   from the 2.5 % to the 97.5 % quantile of 2,000 such means
    p-value    2 Phi(-|m| / sd(mean*)): how often a normal mean of 0 would be as far off as m, the
               mean of v

The unit is the problem: its samples and its budgets stay together. Resampling K seeds shows only
(K - 1) / K of the variance between seeds, two thirds at K = 3; the factor sqrt(K / (K - 1)) in w
corrects this. One seed shows no variance, and its interval covers the choice of problems alone.

Shapes: K seeds, P problems, S arms, n samples.

Deviations from the paper: (1) its intervals fit a binomial over all problems; ours are paired.
"""
import functools
import math

import numpy as np

from bandit import pass_at

RESAMPLES = 2000           # ours: the ends of an interval are then known to about 2 % of its width


@functools.lru_cache
def resampling_weights(K: int, P: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights w of the seeds (resamples, K) and c / P of the problems (resamples, P)."""
    # assignment 10
    rng = np.random.default_rng(0)
    # How often each seed is taken, and its weight
    u = rng.multinomial(K, np.full(K, 1 / K), resamples)
    w = 1 / K + math.sqrt(K / max(K - 1, 1)) * (u - 1) / K
    # How often each problem is taken
    c = rng.multinomial(P, np.full(P, 1 / P), resamples)
    return w, c / P


def resampled(values: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Means (resamples,) of values (K, P), resampled over seeds and problems.

    Policies with the same number of seeds share the resamples: they are compared on the same
    problems.
    """
    # assignment 10
    K, P = values.shape
    of_seeds, of_problems = resampling_weights(K, P, resamples)
    by_seed = of_problems @ values.T                           # (resamples, K)
    return (of_seeds * by_seed).sum(1)


def interval(values: np.ndarray, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % interval of the mean of values (K, P)."""
    low, high = np.quantile(resampled(values, resamples), (0.025, 0.975))
    return float(low), float(high)


def p_value(values: np.ndarray) -> float:
    """Two-sided p-value of "the mean of values (K, P) is 0".

    It takes the mean to be normal, and so can be far below 1 / RESAMPLES.
    """
    mean = abs(values.mean())
    sd = resampled(values).std()
    if sd <= 1e-12:                                                # all values are the same
        return float(mean == 0)
    return math.erfc(mean / sd / math.sqrt(2))


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for looking at all of them together (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, and is no less than the one before it.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(np.argsort(p_values)):
        product = (len(p_values) - rank) * p_values[i]
        largest = max(largest, min(1.0, product))
        adjusted[i] = largest
    return adjusted


def oracle(table: np.ndarray, B: int) -> np.ndarray:
    """Pass@B (P,) of each problem's best arm; table (P, S, n) of rewards, B <= n / 2.

    One half of the samples names the arm and the other half scores it; then the halves change
    places. So the named arm's score is unbiased, and too low for the arm that is truly best.
    Named and scored on the same samples, a lucky arm would look better than it is.
    """
    half = table.shape[2] // 2
    first = pass_at(table[..., :half], B)                      # (P, S)
    second = pass_at(table[..., half:2 * half], B)             # (P, S)
    problems = np.arange(len(table))
    scores = [second[problems, _best_arm(first)], first[problems, _best_arm(second)]]
    return np.mean(scores, 0)


def _best_arm(values: np.ndarray) -> np.ndarray:
    """The best arm (P,) of values (P, S); of equal ones that with the best average."""
    return (values + 1e-6 * values.mean(0)).argmax(1)

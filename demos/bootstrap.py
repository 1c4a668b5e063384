"""How often does the 95 % interval contain the true mean?

    python -m demos.bootstrap
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import numpy as np

from experiment.stats import interval
from utils.options import Parser

TRIALS = 500
# (training seeds, problems, standard deviation between seeds)
CASES = [(1, 100, 0.0), (1, 1000, 0.0), (3, 250, 0.01), (3, 1000, 0.01), (3, 1000, 0.05)]


def simulated(rng: np.random.Generator, K: int, P: int, spread: float) -> np.ndarray:
    """Pass rates (K, P) with mean .4: problems differ, and so do seeds (by a deviation `spread`)."""
    of_problems = rng.beta(0.8, 1.2, P)                                                # mean .4
    of_seeds = rng.normal(0, spread, (K, 1))
    return of_problems + of_seeds + rng.normal(0, 0.1, (K, P))


def main() -> None:
    parser = Parser(description="How often does the 95 %% interval contain the true mean?")
    parser.parse_args()
    rng = np.random.default_rng(1)
    print(f"95 % intervals that contain the true mean, of {TRIALS}; pass rates around .4:")
    for K, P, spread in CASES:
        contained = 0
        for _ in range(TRIALS):
            low, high = interval(simulated(rng, K, P, spread), resamples=500)
            contained += low <= 0.4 <= high
        percent = 100 * contained / TRIALS
        print(f"  {K} seeds that differ by {spread:.2f}, {P:5} problems: {percent:5.1f} %")
    print("In the last row the seeds differ by more than three of them can show.")


if __name__ == "__main__":
    run_program("demos.bootstrap", main)

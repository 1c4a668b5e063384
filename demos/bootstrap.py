"""How often does the 95 % interval contain the true mean?

    python -m demos.bootstrap
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import numpy as np

from experiment.stats import interval
from utils.options import Parser

CASES = [(1, 100, 0.0), (1, 1000, 0.0), (3, 250, 0.01), (3, 1000, 0.01), (3, 1000, 0.05)]


def simulated(rng: np.random.Generator, K: int, P: int, spread: float) -> np.ndarray:
    """Pass rates (K, P) of mean .4: problems differ, and so do seeds (by a deviation `spread`)."""
    problems = rng.beta(0.8, 1.2, P)                                                   # mean .4
    return problems + rng.normal(0, spread, (K, 1)) + rng.normal(0, 0.1, (K, P))


def main() -> None:
    Parser(description="How often does the 95 %% interval contain the true mean?").parse_args()
    rng = np.random.default_rng(1)
    print("95 % intervals that contain the true mean, of 500; pass rates around .4:")
    for K, P, spread in CASES:
        contained = 0
        for _ in range(500):
            low, high = interval(simulated(rng, K, P, spread), resamples=500)
            contained += low <= 0.4 <= high
        print(f"  {K} seeds that differ by {spread:.2f}, {P:5} problems: {contained / 5:5.1f} %")
    print("In the last row the seeds differ by more than three of them can show.")


if __name__ == "__main__":
    run_program("demos.bootstrap", main)

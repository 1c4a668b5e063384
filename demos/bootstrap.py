"""How often does the 95 % interval hold the truth?

    python -m demos.bootstrap
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import numpy as np

from experiment.stats import interval
from utils.options import Parser


def main() -> None:
    Parser(description="How often does the 95 %% interval hold the truth?").parse_args()
    rng = np.random.default_rng(1)
    print("95 % intervals that hold the true mean, of 500; pass rates around .4:")
    for K, P, spread in ((1, 100, 0), (1, 1000, 0), (3, 250, .01), (3, 1000, .01), (3, 1000, .05)):
        held = 0
        for _ in range(500):
            low, high = interval(simulated(rng, K, P, spread), draws=500)
            held += low <= 0.4 <= high
        print(f"  {K} seeds that differ by {spread:.2f}, {P:5} problems: {held / 5:5.1f} %")
    print("the last row: a spread over seeds that three of them cannot show")


def simulated(rng: np.random.Generator, K: int, P: int, spread: float) -> np.ndarray:
    """Pass rates (K, P) of a true mean of .4: problems differ, and so do seeds (sd: spread)."""
    hard = rng.beta(0.8, 1.2, P)                                                   # mean .4
    return hard + rng.normal(0, spread, (K, 1)) + rng.normal(0, 0.1, (K, P))


if __name__ == "__main__":
    run_program("demos.bootstrap", main)

"""EDT's temperature as a function of the entropy, for each setting that a run tries.

    python -m demos.edt_temperatures                         # 4 seconds
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import torch

from baselines.edt import EDT_GRID, edt_temperature
from utils.options import Parser

ENTROPIES = torch.tensor([0.0, 0.05, 0.2, 0.5, 1.0, 2.0])                      # nats


def main() -> None:
    Parser(prog="demos.edt_temperatures", description="EDT's temperatures.").parse_args()
    print("EDT's temperature at entropy (nats)")
    print(" " * 19 + "".join(f"{x:7.2f}" for x in ENTROPIES))
    for T0, theta in EDT_GRID:
        temperatures = edt_temperature(ENTROPIES, T0, theta)
        label = f"T0 {T0:g}, theta {theta:g}:"
        print(f"{label:19}" + "".join(f"{x:7.3f}" for x in temperatures))


if __name__ == "__main__":
    run_program("demos.edt_temperatures", main)

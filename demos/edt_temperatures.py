"""EDT's temperatures by entropy, for each setting that is tried.

    python -m demos.edt_temperatures                         # 4 seconds
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import torch

from baselines.edt import EDT_GRID, edt_temperature
from utils.options import Parser


def main() -> None:
    Parser(prog="demos.edt_temperatures", description="EDT's temperatures.").parse_args()
    H = torch.tensor([0.0, 0.05, 0.2, 0.5, 1.0, 2.0])
    print("EDT        H = " + "".join(f"{x:7.2f}" for x in H))
    for T0, theta in EDT_GRID:
        print(f"T0 {T0:g}, theta {theta:g}:".ljust(19)
              + "".join(f"{x:7.3f}" for x in edt_temperature(H, T0, theta)))


if __name__ == "__main__":
    run_program("demos.edt_temperatures", main)

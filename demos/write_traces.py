"""Writes the traces of a finished run again.

    python -m demos.write_traces runs/sums
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import os

from tqdm import tqdm

from experiment.config import load
from experiment.held_out import held_out
from experiment.reward_table import RewardStore
from experiment.run import Run, read_config
from experiment.traces import write_traces
from utils.options import Parser


def main() -> None:
    parser = Parser(description="Write down what a run does on held-out problems.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    folder = parser.parse_args().folder
    config = read_config(folder)
    rewards = RewardStore(os.path.join(folder, "rewards.npz"))
    write_traces(held_out(Run(*load(config), config, folder, rewards), tqdm(disable=True)))
    print(f"wrote {folder}/: tokens.csv, lengths.csv, generations.json, choices.csv")


if __name__ == "__main__":
    run_program("demos.write_traces", main)

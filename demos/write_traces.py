"""Writes the traces of a finished run again.

    python -m demos.write_traces runs/sums
"""
from utils.cli import run                      # first: Ctrl-C while torch loads gets one line

import os

from tqdm import tqdm

from experiment.config import load
from experiment.held_out import held_out
from experiment.reward_table import Rewards
from experiment.run import Job, read_config
from experiment.traces import write_traces
from utils.options import Parser


def main() -> None:
    parser = Parser(description="Write down what a run does on held-out problems.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    folder = parser.parse_args().folder
    config = read_config(folder)
    rewards = Rewards(os.path.join(folder, "rewards.npz"))
    write_traces(held_out(Job(*load(config), config, folder, rewards), tqdm(disable=True)))
    print(f"wrote {folder}/: tokens.csv, lengths.csv, generations.json, choices.csv")


if __name__ == "__main__":
    run("demos.write_traces", main)

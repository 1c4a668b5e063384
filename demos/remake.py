"""Writes the traces and the model card of a finished run again.

    python -m demos.remake runs/sums
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import os

from tqdm import tqdm

from experiment.load import load
from experiment.held_out import held_out
from experiment.model_card import card
from experiment.reward_table import RewardStore
from experiment.run import Run, read_config
from experiment.traces import write_traces
from utils.files import write
from utils.options import Parser


def main() -> None:
    parser = Parser(description="Write the traces and the model card of a finished run again.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    folder = parser.parse_args().folder
    config = read_config(folder)
    lm, task = load(config)
    rewards = RewardStore(os.path.join(folder, "rewards.npz"))
    write_traces(held_out(Run(lm, task, config, folder, rewards), tqdm(disable=True)))
    write(os.path.join(folder, "README.md"), card(config, folder))
    print(f"wrote {folder}/: tokens.csv, lengths.csv, generations.json, comparison.json, "
          "choices.csv, README.md")


if __name__ == "__main__":
    run_program("demos.remake", main)

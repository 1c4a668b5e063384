"""Writes the model card of a finished run again.

    python -m demos.write_model_card runs/sums
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

from experiment.model_card import card
from experiment.run import read_config
from utils.files import write
from utils.options import Parser


def main() -> None:
    parser = Parser(description="Write a run's model card.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    folder = parser.parse_args().folder
    config = read_config(folder)
    write(f"{folder}/README.md", card(config, folder))
    print(f"wrote {folder}/README.md")


if __name__ == "__main__":
    run_program("demos.write_model_card", main)

"""The sequence level alone, for an LM with which the token level would take days.

    python -m demos.sequence --model FOLDER --task mbpp --data FILE --pool 1 --arms 4 \\
        --styles short,direct,bare,cot --pool-problems 120 --problems 120 --test-problems 120 \\
        --samples 1 --test-samples 1 --budgets 32,64,128,192 --baselines --name mbpp

The options of train.py, whose stages 1 to 3 it runs, and eval.py's tables of the sequence level. An
arm's rewards are written as soon as it is sampled, to runs/NAME.part/rewards.npz; --resume goes on
there. The tables go to runs/NAME.part/sequence.txt. (Nothing of a whole run is missing there:
train.py --resume with the same options adds the token level, and finishes it.)
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import json

from tqdm import tqdm

import baselines                               # noqa: F401  (enters itself in the registry)
from eval import LEGEND, sequence_table
from experiment.config import parse
from experiment.held_out import held_out
from experiment.run import open_run
from experiment.tables import show
from train import sample_table, select_action_sets, train_bandits
from utils.files import write


def main() -> None:
    config, asked = parse()
    run, _ = open_run(config, asked.resume)
    rewards, problems, e = sample_table(run)
    # With --pool 1 the first style alone has one arm: nothing to choose
    sets = [s for s in select_action_sets(run, rewards, problems, e) if len(s.selection.arms) > 1]
    selection = {"sets": {s.styles: s.selection.to_json() for s in sets}}
    write(f"{run.folder}/selection.json", json.dumps(selection))
    for s in sets:
        train_bandits(run, s)
    with tqdm(desc="held-out", unit=" tables") as bar:
        held = held_out(run, bar)
        tables = [sequence_table(held, styles, chosen) for styles, chosen in held.sets.items()]
    text = "\n".join([*(show(table, run.task.budgets) for table in tables), "", LEGEND])
    write(f"{run.folder}/sequence.txt", text + "\n")
    print(text)


if __name__ == "__main__":
    run_program("demos.sequence", main, "stopped; the same command with --resume goes on")

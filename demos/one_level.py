"""One level alone, for an LM with which the other one would take days.

    python -m demos.one_level sequence --model FOLDER --task mbpp --data FILE --pool 1 --arms 4 \\
        --styles short,direct,bare,cot --pool-problems 120 --problems 120 --test-problems 120 \\
        --samples 1 --test-samples 1 --budgets 32,64,128,192 --baselines --name mbpp
    python -m demos.one_level token --model FOLDER --task chains --styles either --shots 4 --plain

The options of train.py, and those of its stages that the level needs: 1 to 3 or 1, 2 and 4; then
eval.py's tables of that level. Rewards and checkpoints are written to runs/NAME.part; --resume goes
on there. The tables go to runs/NAME.part/sequence.txt or token.txt. demos.replay trains other
bandits on runs/NAME.part/sequence.npz, in seconds. (Nothing of a whole run is missing there:
train.py --resume with the same options adds the other level, and finishes it.)
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import json
import sys

from tqdm import tqdm

import baselines                               # noqa: F401  (enters itself in the registry)
from eval import ablation_table, sequence_table, token_table
from experiment.bandit_tables import BanditTables
from experiment.config import parse
from experiment.held_out import HeldOut, held_out
from experiment.progress import progress
from experiment.registry import train_baselines, tune_baselines
from experiment.run import Run, open_run
from experiment.selection import ActionSet
from experiment.tables import LEGEND, show
from train import RESUME, sample_table, select_action_sets, train_bandits, train_token_level
from utils.distributed import main_process_first, process_group
from utils.errors import OptionError
from utils.files import write

LEVELS = ("sequence", "token")


def train_level(run: Run, level: str) -> list[ActionSet]:
    """Stages 1 and 2, and 3 or 4; the action sets."""
    rewards, problems, e = sample_table(run)
    # With --pool 1 one style alone has one arm: nothing to choose for a bandit
    sets = [s for s in select_action_sets(run, rewards, problems, e)
            if level == "token" or len(s.selection.arms) > 1]
    selection: dict[str, object] = {"sets": {s.styles: s.selection.to_json() for s in sets}}
    if level == "token":
        selection |= tune_baselines(run, sets[-1].problems[:run.config.pool_problems])
    write(f"{run.folder}/selection.json", json.dumps(selection))
    if level == "sequence":
        for s in sets:
            train_bandits(run, s)
    else:
        train_token_level(run, sets[-1], len(problems))
        train_baselines(run, sets[-1].problems)
    return sets


def tables_of(held: HeldOut, level: str) -> list[dict]:
    if level == "token":
        return [token_table(held)] + ([ablation_table(held)] if held.run.config.baselines else [])
    return [sequence_table(held, styles, chosen) for styles, chosen in held.sets.items()]


def main() -> None:
    level, options = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if level not in (*LEVELS, "-h", "--help"):
        raise OptionError(f"say first which level: {' or '.join(LEVELS)}; then options of train.py")
    with process_group(RESUME):
        config, asked = main_process_first(lambda: parse(options if level in LEVELS else [level]))
        if asked.profile or asked.tables:
            raise OptionError("--profile and --tables are options of train.py alone")
        run, _ = open_run(config, asked.resume)
        progress.begin(0)                      # a part of a run: what is left of it is not planned
        sets = train_level(run, level)
        with tqdm(desc="held-out", unit=" tables") as bar:
            held = held_out(run, bar)
            tables = tables_of(held, level)
            if level == "sequence":
                BanditTables.of_run(sets[-1], held).save(f"{run.folder}/sequence.npz")
        text = "\n".join([*(show(table, run.task.budgets) for table in tables), "", LEGEND])
        write(f"{run.folder}/{level}.txt", text + "\n")
        print(text)


if __name__ == "__main__":
    run_program("demos.one_level", main, f"stopped; {RESUME}")

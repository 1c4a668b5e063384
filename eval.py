"""What was gained: held-out rewards of every policy, Pass@B, paired intervals, the paper's tables.

    python eval.py runs/sums                # remakes all tables from the run's adapters and rewards
    python eval.py runs/sums --parallel 1,2,4,8                   # Pass@B for other B than 1 and 8
    python eval.py runs/full --against reference/results.json     # fails where a row is elsewhere

    Pass@B       1 - C(n - c, B) / C(n, B), c right among n samples               bandit.pass_at
    interval     bootstrap over problems and training seeds                             stats.py
    difference   the same bootstrap of (policy - baseline), paired by problem and by random numbers
    *            p < .05 after Holm's correction for all differences of the same table

What is missing on disk is sampled (heldout.py).

Deviations from the paper: (1) its intervals fit a binomial over all problems; ours are paired, and
hold the spread of trainings. (2) Holm's correction.
"""
from cli import Parser, UserError, run, whole_numbers       # first: see train.py

import json
import os
from collections import Counter
from typing import Sequence

from tqdm import tqdm

import ranks
from config import load
from heldout import held_out
from job import Job, read_config
from rewards import Rewards
from store import read_json, shorter, write
from tables import LEGEND, all_tables, compare, show
from traces import write_traces

PAPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference", "paper.json")


# ---- the tables ---------------------------------------------------------------------------------
def evaluate(job: Job, shown: Sequence[int] = ()) -> str:
    """Samples what is missing, writes results.json, returns the tables as text.

    shown: parallel budgets B of the text. Raises UserError for one that was not sampled.
    """
    config, task = job.config, job.task
    with tqdm(desc="6 held-out", unit=" tables") as bar:
        held = held_out(job, bar)
        if not set(shown) <= set(held.Bs):
            raise UserError(f"--parallel of this run: {', '.join(map(str, held.Bs))}")
        tables = all_tables(held)
        if not ranks.first(lambda: os.path.exists(f"{job.folder}/choices.csv")):     # the last one
            ranks.first(lambda: write_traces(held))
    levels = Counter(str(p.level) for p in task.test if p.level is not None)
    results = {"about": {"lm": job.lm.name, "task": task.name, "styles": config.all_styles(),
                         "budgets": task.budgets, "problems": len(task.test),
                         "samples": config.test_samples, "seeds": config.seeds, "levels": levels},
               "selection": held.told["sets"], "tables": tables, "paper": read_json(PAPER)}
    ranks.first(lambda: write(f"{job.folder}/results.json", json.dumps(shorter(results), indent=1)))
    text = "\n".join(show(table, task.budgets, shown) for table in tables) + f"\n\n{LEGEND}"
    alone = "\none training seed: the intervals hold the spread over problems alone"
    return text + alone * (config.seeds == 1)


def main() -> None:
    parser = Parser(description="Remake the tables of a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--parallel", default="", help="B of the Pass@B to print, by commas "
                        "(default: the smallest and the largest sampled)")
    parser.add_argument("--against", help="another run's results.json: fails where a mean is "
                        "outside of its interval")
    args = parser.parse_args()
    shown = whole_numbers(args.parallel, "--parallel")
    config = read_config(args.folder)
    lm, task = load(config)
    rewards = Rewards(os.path.join(args.folder, "rewards.npz"))
    print(evaluate(Job(lm, task, config, args.folder, rewards), shown))
    if args.against:
        print(compare(args.folder, args.against))


if __name__ == "__main__":
    run("eval.py", main)

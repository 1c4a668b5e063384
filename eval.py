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
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import json
import os
from collections import Counter
from typing import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from decode import GREEDY
from experiment.adapters import arms_from_json
from experiment.config import inner_budgets, load, lower_difficulties
from experiment.held_out import Cells, HeldOut, held_out
from experiment.registry import BASELINES, learners
from experiment.reward_table import Arm, RewardStore
from experiment.run import Run, read_config
from experiment.tables import LEGEND, compare, make_table, show
from experiment.traces import write_traces
from utils import distributed
from utils.errors import UserError
from utils.files import read_json, shorter, write
from utils.options import Parser, whole_numbers

TOKEN = (("LPO", "token-lpo"), ("REINFORCE", "token-reinforce"),
         ("token level, entropy only", "token-entropy"),
         ("token level, no budget", "token-no-budget"), ("token level", "token"))
PAPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference", "paper.json")


# ---- which policies stand beside each other, and against what -----------------------------------
def better(a: Cells, b: Cells) -> Cells:
    """Of two policies' cells, in each column those of the higher mean.

    Chosen on the held-out problems themselves: a baseline that is a little too good.
    """
    return {at: max(a[at], b[at], key=np.mean) for at in a}


def all_tables(held: HeldOut) -> list[dict]:
    tables = [sequence_table(held, styles, told) for styles, told in held.told["sets"].items()]
    tables += [token_table(held), both_table(held)]
    if held.run.config.baselines:
        tables += [ablation_table(held), *transfer_tables(held)]
    return tables


def sequence_table(held: HeldOut, styles: str, told: dict) -> dict:
    arms, baseline = arms_from_json(told["arms"]), held.best_static(told)
    steady, = arms_from_json(told["best_of_all"])
    policies = {f"arm: {arm}": held.cells(held.static(arm)) for arm in arms}
    policies |= {"greedy": held.cells(held.static(Arm(held.style, GREEDY))),
                 "best static, one for all": held.cells(held.static(steady)),
                 "best static": baseline, "best static, chosen here": held.optimist(told),
                 "mixed static": held.mixed(arms)}
    for kind, learner in learners(held.run.config.baselines).items():
        policies[learner.row] = held.seeds(
            lambda seed: held.bandit(f"{kind} {styles}", seed, arms))
    policies["oracle per prompt (bound)"] = held.bound(arms)
    several = "," in styles
    return make_table(
        f"Sequence level, {'mixed styles' if several else 'one style'}: {styles}",
        "Difference to best static (chosen on training problems, for each column).",
        [held.Bs[0], held.Bs[-1]], policies, baseline,
        ("best static, chosen here", "oracle per prompt (bound)"))


def token_table(held: HeldOut) -> dict:
    config, told = held.run.config, next(iter(held.told["sets"].values()))
    baseline, arms = held.best_static(told), arms_from_json(told["arms"])
    steady, = arms_from_json(told["best_of_all"])
    policies = {"greedy": held.cells(held.static(Arm(held.style, GREEDY))),
                "best static, one for all": held.cells(held.static(steady)),
                "best static": baseline, "mixed static": held.mixed(arms)}
    if config.baselines:
        for baseline in BASELINES.values():
            if cells := baseline.cells(held):
                policies[baseline.row] = cells
    for name, kind in TOKEN if config.baselines else TOKEN[-1:]:
        policies[name] = held.seeds(lambda seed: held.token(kind, seed))
    if held.run.task.scripted_oracle:
        policies["scripted oracle"] = held.rule()
    return make_table("Token level", "Difference to best static (chosen on training problems, for "
                      "each column).", held.Bs[:1], policies, baseline,
                      ("scripted oracle",))


def both_table(held: HeldOut) -> dict:
    styles, told = list(held.told["sets"].items())[-1]
    arms = arms_from_json(told["arms"])
    sequence = held.seeds(lambda seed: held.bandit(f"softmax {styles}", seed, arms))
    token = held.seeds(lambda seed: held.token("token", seed))
    both = held.seeds(lambda seed: held.both(styles, seed))
    return make_table("Both levels, and each alone", "Difference to the better of the two levels "
                      "in each column.", [held.Bs[0], held.Bs[-1]],
                      {"softmax bandit": sequence, "token level": token, "both levels": both},
                      better(sequence, token))


def ablation_table(held: HeldOut) -> dict:
    """What the token level owes to each of its parts."""
    policies = {name: held.seeds(lambda seed: held.token(kind, seed)) for name, kind in TOKEN}
    return make_table("Ablations of the token level", "Difference to the token level.",
                      held.Bs[:1], policies, policies["token level"])


def transfer_tables(held: HeldOut) -> list[dict]:
    """Trained on easy problems, tested on the others; trained at some budgets, tested at all."""
    run, tables = held.run, []
    static = held.best_static(next(iter(held.told["sets"].values())))
    whole = held.seeds(lambda seed: held.token("token", seed))
    low = lower_difficulties(run.task.train)
    hard = np.array([p.difficulty is not None and p.difficulty not in low for p in run.task.test])
    for kind, there, what in (
            ("token-easy", hard, f"levels {names(low)}, tested on the others"),
            ("token-inner", hard | True, f"T = {names(inner_budgets(run.task.budgets))}")):
        if any(there) and distributed.main_process_first(lambda: run.done(kind, run.config.seed)):
            part = held.seeds(lambda seed: held.token(kind, seed))
            policies = {"best static": static, "token level, trained so": part,
                        "token level, trained on all": {at: whole[at] for at in part}}
            policies = {name: {at: v[:, there] for at, v in cells.items()}
                        for name, cells in policies.items()}
            tables.append(make_table(
                f"Transfer: trained on {what}", "Difference to the token level trained on all.",
                held.Bs[:1], policies, policies["token level, trained on all"]))
    return tables


def names(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


# ---- the tables ---------------------------------------------------------------------------------
def evaluate(run: Run, shown: Sequence[int] = ()) -> str:
    """Samples what is missing, writes results.json, returns the tables as text.

    shown: parallel budgets B of the text. Raises UserError for one that was not sampled.
    """
    config, task = run.config, run.task
    with tqdm(desc="6 held-out", unit=" tables") as bar:
        held = held_out(run, bar)
        if not set(shown) <= set(held.Bs):
            raise UserError(f"--parallel of this run: {', '.join(map(str, held.Bs))}")
        tables = all_tables(held)
        if not distributed.main_process_first(lambda: os.path.exists(f"{run.folder}/choices.csv")):     # the last one
            distributed.main_process_first(lambda: write_traces(held))
    difficulties = Counter(str(p.difficulty) for p in task.test if p.difficulty is not None)
    results = {"about": {"lm": run.lm.name, "task": task.name, "styles": config.all_styles(),
                         "budgets": task.budgets, "problems": len(task.test),
                         "samples": config.test_samples, "seeds": config.seeds,
                         "difficulties": difficulties},
               "selection": held.told["sets"], "tables": tables, "paper": read_json(PAPER)}
    distributed.main_process_first(lambda: write(f"{run.folder}/results.json", json.dumps(shorter(results), indent=1)))
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
    rewards = RewardStore(os.path.join(args.folder, "rewards.npz"))
    print(evaluate(Run(lm, task, config, args.folder, rewards), shown))
    if args.against:
        print(compare(args.folder, args.against))


if __name__ == "__main__":
    run_program("eval.py", main)

"""What was gained: held-out rewards of every policy, Pass@B, paired intervals, the paper's tables.

    python eval.py runs/sums                # all tables again, from the run's adapters and rewards
    python eval.py runs/sums --parallel 1,2,4,8                   # Pass@B for other B than 1 and 8
    python eval.py runs/full --against reference/results.json     # fails where a row is elsewhere

    Pass@B       1 - C(n - c, B) / C(n, B), c right among n samples               bandit.pass_at
    interval     bootstrap over problems and training seeds                  experiment/stats.py
    difference   the same bootstrap of (policy - reference), paired
    *            p < .05 after Holm's correction for the differences that the table shows by default

Each table below names its rows and its reference, the policy that is subtracted from every row.
That is best static, except in "both levels" (the better level alone), ablations and transfer.
`HeldOut` samples what is missing on disk. A row's Cells are a dictionary: (B, t) -> Pass@B (K, P)
of K training seeds on P problems at the t-th token budget.

Differences are paired by problem: both policies are scored on the same problems. Within one prompt
style they are paired by random numbers too. A draw is keyed by (seed, the prompt's text, sample,
step), so two policies that ask in the same style use the same random numbers. Two styles are two
texts: their draws are independent, and a difference between them has a wider interval.

Deviations from the paper: (1) its intervals fit a binomial over all problems; ours are paired, and
contain the spread of trainings. (2) Holm's correction.
"""
from utils.cli import check_options, run_program  # first: Ctrl-C is caught from here on
from experiment.config import inner_budgets, lower_difficulties, parse_eval

if __name__ == "__main__":                       # before torch loads: a mistake is told at once
    check_options("eval.py", parse_eval)

import json
import os
from collections import Counter
from functools import partial
from typing import Callable, Iterable, Sequence

import numpy as np
from tqdm import tqdm

import baselines                                 # noqa: F401  (enters itself in the registry)
from decode import GREEDY
from experiment.load import load
from experiment.held_out import Cells, HeldOut, held_out
from experiment.progress import progress
from experiment.registry import BASELINES, BOTH, TOKEN_ROWS, bandit_learners
from experiment.reward_table import Arm, RewardStore
from experiment.run import Run, read_config
from experiment.selection import Selection
from experiment.summary import last_words
from experiment.tables import compare, make_table, tables_text
from experiment.traces import write_traces
from utils import distributed
from utils.errors import UserError
from utils.files import exists, read_json, shorter, write

PAPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference", "paper.json")
TO_BEST_STATIC = "Difference to best static (chosen on training problems, for each column)."


# ---- which policies stand in which table, and what is subtracted --------------------------------
def table_makers(held: HeldOut) -> list[Callable[[], dict]]:
    """Makers of the tables of every run; with --baselines also of ablations and transfer."""
    makers: list[Callable[[], dict]] = []
    for styles, selection in held.sets.items():
        makers.append(partial(sequence_table, held, styles, selection))
    makers += [partial(token_table, held), partial(both_table, held)]
    if held.run.config.baselines:
        makers += [partial(ablation_table, held), *transfer_makers(held)]
    return makers


def static_rows(held: HeldOut, selection: Selection) -> dict[str, Cells]:
    """What needs no learning: one strategy for all prompts. "best static" is the reference."""
    return {
        "greedy": held.arm(Arm(held.style, GREEDY)),
        # One arm for all token budgets: the best on training problems, on average over T at B = 1
        "best static, one for all": held.arm(selection.best_of_all[0]),
        # For each (B, T) the arm that is the best there on training problems (train.best_static)
        "best static": held.best_static(selection),
    }


def sequence_table(held: HeldOut, styles: str, selection: Selection) -> dict:
    """The sequence level on one action set S. Reference: best static."""
    arms = selection.arms
    rows = {f"arm: {arm}": held.arm(arm) for arm in arms}
    rows |= static_rows(held, selection)
    # The same choice made on the held-out problems: too good, and no competitor
    rows["best static, chosen here"] = held.best_static_in_hindsight(selection)
    # An arm of S at random for each prompt
    rows["mixed static"] = held.mixed_static(arms)
    # Bandits choose an arm of S for each prompt, B and T
    for name, learner in bandit_learners(held.run.config.baselines).items():
        rows[learner.row] = held.bandit(f"{name} {styles}", arms)
    # The best arm of S for each prompt, as far as samples show it: about what a perfect bandit
    # would earn, and no competitor
    rows["oracle per prompt (estimate)"] = held.oracle_per_prompt(arms)
    kind = "mixed styles" if "," in styles else "one style"
    return make_table(
        f"Sequence level, {kind}: {styles}", TO_BEST_STATIC, [held.Bs[0], held.Bs[-1]], rows,
        reference=rows["best static"],
        no_competitors=("best static, chosen here", "oracle per prompt (estimate)"))


def token_table(held: HeldOut) -> dict:
    """The token level in the run's first style. Reference: best static."""
    selection = next(iter(held.sets.values()))
    rows = static_rows(held, selection)
    rows["mixed static"] = held.mixed_static(selection.arms)
    # Published ways to set the temperature; then our token policy, trained or equipped otherwise
    if held.run.config.baselines:
        for baseline in BASELINES.values():
            cells = baseline.cells(held)
            if cells:
                rows[baseline.row] = cells
    rows |= token_rows(held)
    # No competitors: a rule by hand that sees the problem (tiny.py), and the best of all policies
    # for a player who even knows the answer (experiment/optimum.py)
    if held.run.task.scripted_oracle:
        rows["scripted oracle"] = held.scripted_oracle()
        optimum = held.optimum()
        if optimum:
            rows["optimum, knows the answer"] = optimum
    return make_table("Token level", TO_BEST_STATIC, held.Bs[:1], rows,
                      reference=rows["best static"],
                      no_competitors=("scripted oracle", "optimum, knows the answer"))


def token_rows(held: HeldOut) -> dict[str, Cells]:
    """The run's token policies. Without --baselines "token level" is the only one."""
    kinds = TOKEN_ROWS if held.run.config.baselines else ["token"]
    return {TOKEN_ROWS[kind]: held.token(kind) for kind in kinds}


def both_table(held: HeldOut) -> dict:
    """Both levels, and each alone. Reference: in each column the better of the two alone."""
    styles, selection = list(held.sets.items())[-1]
    sequence = held.bandit(f"softmax {styles}", selection.arms)
    token = held.token("token")
    rows = {"softmax bandit": sequence, "token level": token, BOTH.row: held.both(styles)}
    return make_table("Both levels, and each alone", "Difference to the better of the two levels "
                      "in each column.", [held.Bs[0], held.Bs[-1]], rows,
                      reference=better(sequence, token))


def better(a: Cells, b: Cells) -> Cells:
    """Of two policies' cells, in each column those of the higher mean.

    Chosen on the held-out problems themselves: a reference that is a little too good.
    """
    return {at: a[at] if a[at].mean() >= b[at].mean() else b[at] for at in a}


def ablation_table(held: HeldOut) -> dict:
    """What the token level owes to each of its parts. Reference: the token level."""
    rows = token_rows(held)
    return make_table("Ablations of the token level", "Difference to the token level.",
                      held.Bs[:1], rows, reference=rows["token level"])


def transfer_makers(held: HeldOut) -> list[Callable[[], dict]]:
    """Trained on easy problems, tested on the others; trained at some budgets, tested at all."""
    run = held.run
    easy = lower_difficulties(run.task.train)
    hard = np.array([p.difficulty is not None and p.difficulty not in easy for p in run.task.test])
    inner = inner_budgets(run.task.budgets)
    makers: list[Callable[[], dict]] = []
    if hard.any() and run.done("token-easy", run.config.seed):
        makers.append(partial(transfer_table, held, "token-easy", hard,
                              f"difficulties {listed(easy)}, tested on the others"))
    if run.done("token-inner", run.config.seed):
        every = np.ones_like(hard)
        makers.append(partial(transfer_table, held, "token-inner", every, f"T = {listed(inner)}"))
    return makers


def transfer_table(held: HeldOut, kind: str, tested: np.ndarray, trained_on: str) -> dict:
    """On the problems in tested (P,) bool. Reference: the token level that is trained on all."""
    policies = {
        "best static": held.best_static(next(iter(held.sets.values()))),
        "token level, trained so": held.token(kind),
        "token level, trained on all": held.token("token"),
    }
    # "trained so" has half of the samples, and so fewer columns (B, t): all rows get these alone
    columns = policies["token level, trained so"].keys()
    rows = {}
    for name, cells in policies.items():
        rows[name] = {at: cells[at][:, tested] for at in columns if at in cells}
    return make_table(
        f"Transfer: trained on {trained_on}", "Difference to the token level trained on all.",
        held.Bs[:1], rows, reference=rows["token level, trained on all"])


def listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


# ---- all tables of a run ------------------------------------------------------------------------
def evaluate(run: Run, shown: Sequence[int] = ()) -> dict:
    """Samples what is missing, writes results.json, results.txt, traces and the page report.html.

    shown: parallel budgets B to be printed. Raises UserError for one that was not sampled.
    Returns the content of results.json.
    """
    config, task = run.config, run.task
    with tqdm(desc="6/6 held-out problems", unit="part") as bar:
        held = held_out(run, bar)
        if not set(shown) <= set(held.Bs):
            raise UserError(f"--parallel of this run: {listed(held.Bs)}")
        makers = table_makers(held)
        bar.reset(len(makers) + 1)                               # the tables and the traces
        tables = []
        for make in makers:
            tables.append(make())
            bar.update()
        if not exists(f"{run.folder}/choices.csv"):              # the last file of the traces
            bar.set_postfix(sampling="completions to look at", **progress.left())
            distributed.main_process_first(partial(write_traces, held))
        bar.update()

    # How large this evaluation is, for readers and for --against
    difficulties = Counter(str(p.difficulty) for p in task.test if p.difficulty is not None)
    about = {"lm": run.lm.name, "task": task.name, "styles": config.all_styles(),
             "budgets": task.budgets, "problems": len(task.test), "samples": config.test_samples,
             "seeds": config.seeds, "difficulties": difficulties}
    results = shorter({"about": about, "selection": held.selection["sets"], "tables": tables,
                       "paper": read_json(PAPER)})
    write(f"{run.folder}/results.json", json.dumps(results, indent=1))
    write(f"{run.folder}/results.txt", tables_text(results) + "\n")
    from report.page import write_page           # here: matplotlib takes half a second to import
    distributed.main_process_first(partial(write_page, run.folder))
    return results


def main() -> None:
    args = parse_eval()
    config = read_config(args.folder)
    lm, task = load(config)
    rewards = RewardStore(os.path.join(args.folder, "rewards.npz"))
    results = evaluate(Run(lm, task, config, args.folder, rewards), args.parallel)
    print(last_words(results, True, args.parallel))
    if args.against:
        print(compare(args.folder, args.against))


if __name__ == "__main__":
    run_program("eval.py", main)

"""The paper's tables: which policies stand beside each other, and against which baseline.

    python eval.py runs/sums                                        # samples, computes, prints them

A *row* is a policy, a *cell* its Pass@B at one token budget: the mean over seeds and problems, its
95 % interval, the difference to the table's baseline, that one's interval, p-value and Holm's.
Rows that are no rivals (they see the problem, or were chosen on the held-out ones) are marked.
"""
import json
from typing import Any, Iterable, Sequence

import numpy as np

import ranks
from bandit import Arm
from cli import UserError
from config import inner_budgets, lower_levels
from decode import GREEDY
from heldout import Cells, HeldOut
from sequence import learners
from stats import holm, interval, p_value
from store import arms_from_json, read_json

TOKEN = (("LPO", "token-lpo"), ("REINFORCE", "token-reinforce"),
         ("token level, entropy only", "token-entropy"),
         ("token level, no budget", "token-no-budget"), ("token level", "token"))


# ---- rows ---------------------------------------------------------------------------------------
def make_row(name: str, values: Cells, baseline: Cells, rival: bool = True) -> dict:
    """values and baseline: without seeds (1, P) each."""
    cells: dict[str, dict[str, Any]] = {}
    for (B, t), v in values.items():
        cells[f"pass@{B}[{t}]"] = cell = {"mean": float(v.mean()), "interval": interval(v)}
        if values is not baseline and (B, t) in baseline:
            difference = v - baseline[B, t]
            cell |= {"difference": float(difference.mean()),
                     "difference_interval": interval(difference), "p": p_value(difference)}
    return {"name": name, "rival": rival, "cells": cells}


def make_table(title: str, note: str, Bs: list[int], policies: dict[str, Cells],
               baseline: Cells, no_rivals: Sequence[str] = ()) -> dict:
    """policies: name -> cells. Bs: those to be shown. Holm's correction is over what is shown, but
    for cells that are the baseline's own: they compare nothing."""
    rows = [make_row(name, cells, baseline, name not in no_rivals)
            for name, cells in policies.items()]
    compared = [cell for row in rows if row["rival"] for at, cell in row["cells"].items()
                if any(cell.get("difference_interval", ()))
                and at.startswith(tuple(f"pass@{B}[" for B in Bs))]
    for cell, p in zip(compared, holm([cell["p"] for cell in compared])):
        cell["holm"] = p
    return {"title": title, "note": note, "pass": list(Bs), "rows": rows}


def better(a: Cells, b: Cells) -> Cells:
    """Of two policies' cells, in each column those of the higher mean.

    Chosen on the held-out problems themselves: a baseline that is a little too good.
    """
    return {at: max(a[at], b[at], key=np.mean) for at in a}


# ---- the tables ---------------------------------------------------------------------------------
def all_tables(held: HeldOut) -> list[dict]:
    tables = [sequence_table(held, styles, told) for styles, told in held.told["sets"].items()]
    tables += [token_table(held), both_table(held)]
    if held.job.config.rivals:
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
    for kind, learner in learners(held.job.config).items():
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
    config, told = held.job.config, next(iter(held.told["sets"].values()))
    baseline, arms = held.best_static(told), arms_from_json(told["arms"])
    steady, = arms_from_json(told["best_of_all"])
    policies = {"greedy": held.cells(held.static(Arm(held.style, GREEDY))),
                "best static, one for all": held.cells(held.static(steady)),
                "best static": baseline, "mixed static": held.mixed(arms)}
    if config.rivals:
        policies["EDT"] = held.edt()
        if ranks.first(lambda: all(held.job.done("autodeco", s) for s in config.all_seeds())):
            policies["AutoDeco-like"] = held.seeds(held.autodeco)
    for name, kind in TOKEN if config.rivals else TOKEN[-1:]:
        policies[name] = held.seeds(lambda seed: held.token(kind, seed))
    if held.job.task.yardstick:
        policies["rule that sees the problem"] = held.rule()
    return make_table("Token level", "Difference to best static (chosen on training problems, for "
                      "each column).", held.Bs[:1], policies, baseline,
                      ("rule that sees the problem",))


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
    job, tables = held.job, []
    static = held.best_static(next(iter(held.told["sets"].values())))
    whole = held.seeds(lambda seed: held.token("token", seed))
    low = lower_levels(job.task.train)
    hard = np.array([p.level is not None and p.level not in low for p in job.task.test])
    for kind, there, what in (
            ("token-easy", hard, f"levels {names(low)}, tested on the others"),
            ("token-inner", hard | True, f"T = {names(inner_budgets(job.task.budgets))}")):
        if any(there) and ranks.first(lambda: job.done(kind, job.config.seed)):
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


# ---- as text ------------------------------------------------------------------------------------
def show(table: dict, budgets: Sequence[int], Bs: Sequence[int] = ()) -> str:
    """Percent, +- half the 95 % interval; below it the difference, for each B."""
    lines = []
    for B in Bs or table["pass"]:
        lines.append(f"\n{table['title']}. Pass@{B} in %, 95 % interval")
        lines.append(f"{'':38}" + "".join(f"{f'T = {T}':>15}" for T in budgets))
        for r in table["rows"]:
            cells = [r["cells"].get(f"pass@{B}[{t}]") for t in range(len(budgets))]
            if any(cells):
                lines.append(f"{r['name'] + ('' if r['rival'] else ' °'):38}" + "".join(
                    f"{'' if c is None else percent(c):>15}" for c in cells))
                if any(c and "difference" in c and c["difference_interval"] != (0, 0)
                       for c in cells):
                    lines.append(" " * 38 + "".join(
                        f"{difference(c) if c and 'difference' in c else '':>15}" for c in cells))
    return "\n".join(lines)


LEGEND = """Second lines: the paired difference to the table's baseline, in brackets where its
interval holds 0; * p < .05 after Holm's correction for the whole table.
° no competitor: sees the problem, or was chosen on these very problems."""


def percent(cell: dict) -> str:
    return f"{100 * cell['mean']:.1f} ±{half(cell['interval']):.1f}"


def half(interval: Sequence[float]) -> float:
    return 50 * (interval[1] - interval[0])


def difference(cell: dict) -> str:
    low, high = cell["difference_interval"]
    text = f"{round(100 * cell['difference'], 1) + 0.0:+.1f} ±{half((low, high)):.1f}"    # no -0.0
    text = f"({text})" if low <= 0 <= high else text
    return text + ("*" if cell.get("holm", 1) < 0.05 else "")


# ---- another run's tables -----------------------------------------------------------------------
def compare(folder: str, path: str) -> str:
    """Holds a run's results.json to another's. Raises UserError naming every row whose mean is
    somewhere outside of the other's interval, with its first such cell. Rows of arms that only one
    of them selected differ by nature, and are left out."""
    try:
        with open(path, encoding="utf-8") as file:
            results = [read_json(f"{folder}/results.json"), json.load(file)]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', 'it is no JSON')}")
    if not all(isinstance(x, dict) and {"about", "tables"} <= x.keys() for x in results):
        raise UserError(f"{path} is no results.json of a run")
    if results[0]["about"]["budgets"] != results[1]["about"]["budgets"]:
        raise UserError(f"{path} is of other token budgets: {results[1]['about']['budgets']}")
    sizes = [[x["about"][k] for k in ("problems", "samples", "seeds", "styles")] for x in results]
    if sizes[0] != sizes[1]:
        raise UserError(f"{path} is of another size: {sizes[1]} held-out problems, samples, seeds, "
                        f"styles, and {folder} of {sizes[0]}")

    def rows(results: dict) -> dict[str, dict]:
        return {f"{table['title']}: {row['name']}": row["cells"] for table in results["tables"]
                for row in table["rows"]}

    ours, theirs = map(rows, results)
    theirs = {name: cells for name, cells in theirs.items()
              if name in ours or ": arm: " not in name}
    wrong, count = [], sum(map(len, theirs.values()))
    for name, cells in theirs.items():
        found = []
        for at, cell in cells.items():
            low, high = cell["interval"]
            mean = ours.get(name, {}).get(at, {}).get("mean")
            if mean is None:
                found.append(f"{at} is missing")
            elif not low - 1e-9 <= mean <= high + 1e-9:
                found.append(f"{at} is {mean:.3f}, not within {low:.3f} .. {high:.3f}")
        if found:
            wrong.append(f"{name} ({len(found)} of {len(cells)} cells: {found[0]})")
    if wrong:
        raise UserError(f"{len(wrong)} of {len(theirs)} rows are elsewhere: {'; '.join(wrong)}")
    return f"all {count} cells within the intervals of {path}"

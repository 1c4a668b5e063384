"""The paper's tables: which policies stand beside each other, and against which baseline.

    python eval.py runs/sums                                        # samples, computes, prints them

A *row* is a policy, a *cell* its Pass@B at one token budget: the mean over seeds and problems, its
95 % interval, the difference to the table's baseline, that one's interval, p-value and Holm's.
Rows that are no rivals (they see the problem, or were chosen on the held-out ones) are marked.
"""
import json
from typing import Any, Sequence


from experiment.held_out import Cells
from experiment.stats import holm, interval, p_value
from utils.errors import UserError
from utils.files import read_json


# ---- rows ---------------------------------------------------------------------------------------
def make_row(name: str, values: Cells, baseline: Cells, competitor: bool = True) -> dict:
    """values and baseline: without seeds (1, P) each."""
    cells: dict[str, dict[str, Any]] = {}
    for (B, t), v in values.items():
        cells[f"pass@{B}[{t}]"] = cell = {"mean": float(v.mean()), "interval": interval(v)}
        if values is not baseline and (B, t) in baseline:
            difference = v - baseline[B, t]
            cell |= {"difference": float(difference.mean()),
                     "difference_interval": interval(difference), "p": p_value(difference)}
    return {"name": name, "competitor": competitor, "cells": cells}


def make_table(title: str, note: str, Bs: list[int], policies: dict[str, Cells],
               baseline: Cells, no_competitors: Sequence[str] = ()) -> dict:
    """policies: name -> cells. Bs: those to be shown. Holm's correction is over what is shown, but
    for cells that are the baseline's own: they compare nothing."""
    rows = [make_row(name, cells, baseline, name not in no_competitors)
            for name, cells in policies.items()]
    compared = [cell for row in rows if row["competitor"] for at, cell in row["cells"].items()
                if any(cell.get("difference_interval", ()))
                and at.startswith(tuple(f"pass@{B}[" for B in Bs))]
    for cell, p in zip(compared, holm([cell["p"] for cell in compared])):
        cell["holm"] = p
    return {"title": title, "note": note, "pass": list(Bs), "rows": rows}


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
                lines.append(f"{r['name'] + ('' if r['competitor'] else ' °'):38}" + "".join(
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

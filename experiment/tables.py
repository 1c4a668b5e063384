"""The paper's tables: rows, intervals, differences; as text, and against another run's.

    python eval.py runs/sums                                        # samples, computes, prints them

A *row* is a policy. A *cell* is its Pass@B at one token budget: the mean over seeds and problems,
its 95 % interval, and the paired difference to the table's *reference* with that difference's
interval, p-value and Holm's. Rows that do not compete, since they see the problem or were chosen on
the held-out problems, are marked. eval.py says which rows a table has, and what its reference is.
"""
import json
from typing import Any, Sequence

from experiment.held_out import Cells
from experiment.stats import holm, interval, p_value
from utils.errors import UserError
from utils.files import read_json

NAME_WIDTH, CELL_WIDTH = 38, 15                                          # characters

LEGEND = """Second lines: the paired difference to the table's reference, in percentage points, in
brackets where its interval contains 0. * p < .05 after Holm's correction for all differences that
the table shows by default; other Pass@B, which eval.py --parallel adds, have no *.
° no competitor: it sees the problem, or it was chosen on these very problems."""


# ---- rows ---------------------------------------------------------------------------------------
def make_row(name: str, values: Cells, reference: Cells, competitor: bool = True) -> dict:
    """values: (K, P) or, without seeds, (1, P) each; reference likewise."""
    cells: dict[str, dict[str, Any]] = {}
    for (B, t), v in values.items():
        cell = {"mean": float(v.mean()), "interval": interval(v)}
        if values is not reference and (B, t) in reference:
            difference = v - reference[B, t]
            cell["difference"] = float(difference.mean())
            cell["difference_interval"] = interval(difference)
            cell["p"] = p_value(difference)
        cells[f"pass@{B}[{t}]"] = cell
    return {"name": name, "competitor": competitor, "cells": cells}


def make_table(title: str, note: str, Bs: list[int], policies: dict[str, Cells],
               reference: Cells, no_competitors: Sequence[str] = ()) -> dict:
    """policies: name -> cells. reference: what is subtracted from them. Bs: those to be shown.

    Holm's correction covers the differences that are shown, except those that are 0 everywhere:
    there a policy is the reference itself, and nothing is compared.
    """
    shown = tuple(f"pass@{B}[" for B in Bs)
    rows, compared = [], []
    for name, values in policies.items():
        row = make_row(name, values, reference, name not in no_competitors)
        rows.append(row)
        for at, cell in row["cells"].items():
            differs = any(cell.get("difference_interval", ()))
            if row["competitor"] and differs and at.startswith(shown):
                compared.append(cell)
    for cell, p in zip(compared, holm([cell["p"] for cell in compared])):
        cell["holm"] = p
    return {"title": title, "note": note, "pass": list(dict.fromkeys(Bs)), "rows": rows}


# ---- as text ------------------------------------------------------------------------------------
def tables_text(results: dict, Bs: Sequence[int] = ()) -> str:
    """All tables of results.json and how to read them; Bs: parallel budgets other than theirs."""
    about = results["about"]
    lines = [show(table, about["budgets"], Bs) for table in results["tables"]]
    lines.append(f"\n{LEGEND}")
    if about["seeds"] == 1:
        lines.append("one training seed: the intervals contain the spread over problems alone")
    return "\n".join(lines)


def show(table: dict, budgets: Sequence[int], Bs: Sequence[int] = ()) -> str:
    """In percent, ± half of the 95 % interval; below it the difference; for each B."""
    lines = []
    for B in Bs or table["pass"]:
        # A table whose policies have fewer than B samples has nothing to show
        if not any(at.startswith(f"pass@{B}[") for row in table["rows"] for at in row["cells"]):
            continue
        lines.append(f"\n{table['title']}. Pass@{B} in %, 95 % interval")
        lines += [table["note"]] if table["note"] else []
        lines.append(text_line("", [f"T = {T}" for T in budgets]))
        for row in table["rows"]:
            name = row["name"] if row["competitor"] else f"{row['name']} °"
            cells = [row["cells"].get(f"pass@{B}[{t}]", {}) for t in range(len(budgets))]
            if any(cells):
                lines.append(text_line(name, [percent(x) if x else "" for x in cells]))
            if any(x.get("difference_interval", (0, 0)) != (0, 0) for x in cells):
                lines.append(text_line("", [difference(x) if "difference" in x else ""
                                            for x in cells]))
    return "\n".join(lines)


def text_line(name: str, cells: list[str]) -> str:
    return f"{name:{NAME_WIDTH}}" + "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells)


def percent(cell: dict) -> str:
    return f"{100 * cell['mean']:.1f} ±{half(cell['interval']):.1f}"


def half(interval: Sequence[float]) -> float:
    return 50 * (interval[1] - interval[0])


def difference(cell: dict) -> str:
    low, high = cell["difference_interval"]
    mean = round(100 * cell["difference"], 1) + 0.0                               # no -0.0
    text = f"{mean:+.1f} ±{half((low, high)):.1f}"
    if low <= 0 <= high:
        text = f"({text})"
    return text + ("*" if cell.get("holm", 1) < 0.05 else "")


# ---- another run's tables -----------------------------------------------------------------------
def compare(folder: str, path: str) -> str:
    """Holds a run's results.json to another one's.

    Raises UserError with every row whose mean is outside of the other's interval somewhere, and its
    first such cell. Rows of arms that only one of the runs selected differ by nature: left out.
    """
    ours, theirs = read_results(folder, path)
    our_rows, their_rows = rows_by_name(ours), rows_by_name(theirs)
    wrong, rows, count = [], 0, 0
    for name, cells in their_rows.items():
        if ": arm: " in name and name not in our_rows:
            continue
        rows += 1
        count += len(cells)
        found = outside(our_rows.get(name, {}), cells)
        if found:
            wrong.append(f"{name} ({len(found)} of {len(cells)} cells: {found[0]})")
    if wrong:
        raise UserError(f"{len(wrong)} of {rows} rows are elsewhere: {'; '.join(wrong)}")
    return f"all {count} cells within the intervals of {path}"


def read_results(folder: str, path: str) -> tuple[dict, dict]:
    """Ours and theirs. Raises UserError if they cannot be compared."""
    ours = read_json(f"{folder}/results.json")
    try:
        with open(path, encoding="utf-8") as file:
            theirs = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', 'it is no JSON')}")
    if not all(isinstance(x, dict) and {"about", "tables"} <= x.keys() for x in (ours, theirs)):
        raise UserError(f"{path} is no results.json of a run")
    budgets = theirs["about"]["budgets"]
    if budgets != ours["about"]["budgets"]:
        raise UserError(f"{path} is of other token budgets: {budgets}")
    our_size, their_size = size_of(ours), size_of(theirs)
    if our_size != their_size:
        raise UserError(f"{path} is of another size ({their_size}) than {folder} ({our_size})")
    return ours, theirs


def size_of(results: dict) -> str:
    about = results["about"]
    return (f"{about['problems']} held-out problems, {about['samples']} samples each, "
            f"{about['seeds']} trainings, styles {','.join(about['styles'])}")


def rows_by_name(results: dict) -> dict[str, dict]:
    """"title: name" -> cells, of all tables."""
    rows = {}
    for table in results["tables"]:
        for row in table["rows"]:
            rows[f"{table['title']}: {row['name']}"] = row["cells"]
    return rows


def outside(ours: dict, theirs: dict) -> list[str]:
    """What is said of each cell of a row whose mean is not within the other's interval."""
    found = []
    for at, cell in theirs.items():
        low, high = cell["interval"]
        mean = ours.get(at, {}).get("mean")
        if mean is None:
            found.append(f"{at} is missing")
        elif not low - 1e-9 <= mean <= high + 1e-9:                      # roundings of JSON
            found.append(f"{at} is {mean:.3f}, not within {low:.3f} .. {high:.3f}")
    return found

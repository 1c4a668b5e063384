"""What a run prints at its end: one screen that says what was run, and what each level gained.

    python train.py                   # prints it; with --tables the whole tables before it
    python eval.py runs/sums          # the whole tables, then the summary

It is made from results.json alone, so the page about a run (report/page.py) opens with the same.
"""
from typing import Sequence

from experiment.config import QUICK
from experiment.tables import tables_text

SEQUENCE_ROW, TOKEN_ROW, REFERENCE = "softmax bandit", "token level", "best static"
ALL_STYLES = ", all styles"                          # behind the name of a row of several styles
# The rows that tell most, and what each of them is
ROWS = {
    "greedy": "always the likeliest token",
    REFERENCE: "of {candidates} fixed strategies the best on training problems, for each T",
    SEQUENCE_ROW: "the sequence level: one of {arms} strategies for each prompt",
    TOKEN_ROW: "a temperature before each token",
    "scripted oracle": "for reference: a rule by hand that sees the problem",
    REFERENCE + ALL_STYLES: "the same, out of every prompt style",
    SEQUENCE_ROW + ALL_STYLES: "the same, out of every prompt style"}
LEVELS = {"sequence level": SEQUENCE_ROW, "token level": TOKEN_ROW,
          "all styles": SEQUENCE_ROW + ALL_STYLES}
NAME_WIDTH, CELL_WIDTH = 16, 7                                           # characters


def rows_by_name(results: dict) -> dict[str, dict]:
    """Name -> row of the tables in the run's first style; with ", all styles" behind its name a row
    of the sequence level's arms of all styles, if there are several."""
    # The tables begin with the sequence level's: the first style's, then that of all styles
    sequence = results["tables"][:len(results["selection"])]
    token = next(table for table in results["tables"] if table["title"] == "Token level")
    rows = {row["name"]: row for row in sequence[0]["rows"] + token["rows"]}
    if len(sequence) > 1:
        rows |= {row["name"] + ALL_STYLES: row for row in sequence[-1]["rows"]}
    return rows


def rows_of(results: dict) -> list[tuple[str, list[float], str]]:
    """(name, Pass@1 in % at each token budget, what it is) of each of ROWS that the run has."""
    found = rows_by_name(results)
    T = len(results["about"]["budgets"])

    # The numbers that stand in the meanings
    selection = next(iter(results["selection"].values()))
    numbers = {"candidates": selection["candidates"], "arms": len(selection["names"])}

    lines = []
    for name, meaning in ROWS.items():
        if name in found:
            cells = found[name]["cells"]
            means = [100 * cells[f"pass@1[{t}]"]["mean"] for t in range(T)]
            lines.append((name, means, meaning.format(**numbers)))
    return lines


def gain(cell: dict, T: int) -> str:
    """A paired difference to best static in words, such as "+13.6 points at T = 18, .."."""
    points = 100 * cell["difference"]
    low, high = (100 * end for end in cell["difference_interval"])
    text = f"{points:+.1f} points at T = {T}, 95 % interval {low:.1f} to {high:.1f}"
    if high < 0:
        return f"{text}: a loss"
    return text + (": no difference" if low <= 0 else "")


def gains(results: dict) -> dict[str, list[str]]:
    """Level -> what it gains over best static at each token budget, in words."""
    rows = rows_by_name(results)
    said = {}
    for level, name in LEVELS.items():
        if name in rows:
            cells = rows[name]["cells"]
            said[level] = [gain(cells[f"pass@1[{t}]"], T)
                           for t, T in enumerate(results["about"]["budgets"])]
    return said


def about_the_run(results: dict) -> str:
    """The run in one sentence."""
    about = results["about"]
    trainings = "1 training" if about["seeds"] == 1 else f"{about['seeds']} trainings"
    samples = "1 sample" if about["samples"] == 1 else f"{about['samples']} samples"
    return (f"{about['task']} with the language model {about['lm']}, prompt style "
            f"{about['styles'][0]}, {trainings}, tested on {about['problems']} held-out problems "
            f"with {samples} each")


def caution(results: dict) -> str:
    """What a reader must know of so small a run, or of another one; may be empty."""
    if results["about"]["problems"] <= QUICK["test_problems"]:
        return ("So few problems and training steps only show that everything works: these numbers "
                "mean nothing yet.")
    return ""


def table_lines(results: dict) -> list[str]:
    rows = rows_of(results)
    width = max(NAME_WIDTH, *(len(name) for name, _, _ in rows))
    budgets: Sequence[int] = results["about"]["budgets"]
    lines = [f"{'Pass@1 in %, T =':{width}}" + "".join(f"{T:{CELL_WIDTH}}" for T in budgets)]
    for name, means, meaning in rows:
        cells = "".join(f"{mean:{CELL_WIDTH}.1f}" for mean in means)
        lines.append(f"{name:{width}}{cells}   {meaning}")
    return lines


def last_words(results: dict, with_tables: bool, Bs: Sequence[int] = ()) -> str:
    """What a program prints last: the summary, after all tables if asked for; Bs: of these."""
    tables = [tables_text(results, Bs)] if with_tables else []
    return "\n".join([*tables, summary(results)])


def summary(results: dict) -> str:
    """The whole of it, as text."""
    lines = ["", about_the_run(results)]
    if caution(results):
        lines.append(caution(results))
    lines += [*table_lines(results), "", "Gain over best static:"]
    # The level's name stands before its first line alone
    for level, said in gains(results).items():
        label = f"{level}:"
        for text in said:
            lines.append(f"{label:{NAME_WIDTH}} {text}")
            label = ""
    return "\n".join(lines)

"""The files of a run's folder, as figures.py and page.py read them; what is missing is named."""
import csv
import functools
import os
from typing import Any, Iterable

import numpy as np

from utils.errors import UserError
from utils.files import damaged, read_json, refuse_unfinished


def ending(tokens: int, budget: int, truncated: bool) -> str:
    """How a completion ended, in words."""
    return f"{tokens} of {budget} tokens" + (", ran out" if truncated else "")


def verdict(reward: float, answer: str) -> str:
    """Whether it was right, in words; answer: the right one, "" for a program, which has none."""
    text = "right" if reward else "wrong"
    return text + (f", the right answer is {answer}" if answer else "")


def verdict_of(x: dict) -> str:
    """Both of an entry of generations.json or comparison.json."""
    how = ending(len(x["tokens"]), x["budget"], x["truncated"])
    return f"{how}; {verdict(x['reward'], x['answer'])}"


class Missing(UserError):
    """This run does not have what a figure needs."""


class Data:
    """A run's folder. Raises UserError if it is no finished run's, or a file is damaged."""

    def __init__(self, folder: str):
        folder = os.path.normpath(folder)
        if not os.path.isdir(folder):
            refuse_unfinished(folder)
            raise UserError(f"there is no folder {folder} (train.py makes run folders)")
        if not os.path.exists(os.path.join(folder, "results.json")):
            raise UserError(f"{folder} is no finished run: it has no results.json")
        self.folder, self.lines = folder, functools.cache(self._lines)

    def _path(self, name: str) -> str:
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            raise Missing(f"no {name}")
        return path

    def json(self, name: str) -> Any:
        return read_json(self._path(name))

    @functools.cached_property
    def results(self) -> dict:
        results = self.json("results.json")
        missing = [key for key in ("about", "selection", "tables", "paper") if key not in results]
        if missing:
            raise Missing(f"results.json has no {', '.join(missing)}")
        return results

    def _lines(self, name: str) -> list[dict]:
        path = self._path(name)
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            lines = list(csv.DictReader(file))
        if any(None in (*line, *line.values()) for line in lines):        # too long, too short
            raise damaged(path, ValueError())
        return lines

    def select(self, name: str, **fixed: str) -> list[dict]:
        """The lines of a CSV file that have these values; at least one."""
        lines = [line for line in self.lines(name) if fixed.items() <= line.items()]
        if not lines:
            raise Missing(f"{name} has no {', '.join(fixed.values()) or 'lines'}")
        return lines

    def numbers(self, name: str, columns: Iterable[str], **fixed: str) -> list[np.ndarray]:
        """An array (lines,) for each column; NaN where a line has nothing."""
        lines = self.select(name, **fixed)
        missing = [column for column in columns if column not in lines[0]]
        if missing:
            raise Missing(f"{name} has no column {', '.join(missing)}")
        try:
            return [np.array([float(line[c] or "nan") for line in lines]) for c in columns]
        except ValueError as error:
            raise damaged(os.path.join(self.folder, name), error)

    def curves(self, adapter: str, column: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """(steps, values) of each training seed, at the steps that have a value."""
        seed, x, y = self.numbers("metrics.csv", ("seed", "step", column), adapter=adapter)
        filled = ~np.isnan(y)
        if not filled.any():
            raise Missing(f"metrics.csv has no {column} of {adapter}")
        return [(x[on], y[on]) for on in ((seed == s) & filled for s in np.unique(seed))]

    def tables_of(self, styles: str) -> list[dict]:
        """The tables whose policies ask in these styles, such as "cot" or "cot,direct"."""
        style_sets = list(self.results["selection"])
        own = []
        for table in self.results["tables"]:                  # the sequence level's come first
            title = table["title"]
            if (title.startswith("Sequence level") and title.endswith(f": {styles}")
                    or title.startswith("Token level") and styles == style_sets[0]
                    or title.startswith("Both levels") and styles == style_sets[-1]):
                own.append(table)
        return own

    def points(self, name: str, cells: dict, styles: str) -> np.ndarray | None:
        """(4, points): x, mean and 95 % interval in %, of the first table with such a row; cells: x
        -> the cell's name in results.json; styles: as in `tables_of`."""
        for table in self.tables_of(styles):
            for row in table["rows"]:
                found = {x: row["cells"][c] for x, c in cells.items() if c in row["cells"]}
                if row["name"] == name and found:
                    lines = [(x, 100 * cell["mean"], *(100 * end for end in cell["interval"]))
                             for x, cell in found.items()]
                    return np.array(lines).T
        return None

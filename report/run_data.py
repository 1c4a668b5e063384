"""A run's folder as plots.py and report.py read it: tables, columns, curves, or what is missing."""
import csv
import functools
import os
from typing import Any, Iterable

import numpy as np

from utils.errors import UserError
from utils.files import damaged, read_json


class Missing(Exception):
    """What a figure needs and this run does not have."""


class Data:
    """The files of a run's folder. Raises UserError where there is no folder, or a damaged file."""

    def __init__(self, folder: str):
        if not os.path.isdir(folder):
            raise UserError(f"there is no folder {folder} (train.py makes run folders)")
        self.folder, self.lines = folder, functools.cache(self._lines)

    def json(self, name: str) -> Any:
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            raise Missing(f"no {name}")
        return read_json(path)

    @functools.cached_property
    def results(self) -> dict:
        results = self.json("results.json")
        if lacks := [k for k in ("about", "selection", "tables") if k not in results]:
            raise Missing(f"results.json has no {', '.join(lacks)}")
        return results

    def _lines(self, name: str) -> list[dict]:
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            raise Missing(f"no {name}")
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            lines = list(csv.DictReader(file))
        if any(None in (*x, *x.values()) for x in lines):
            raise damaged(path, ValueError())
        return lines

    def select(self, name: str, **fixed: str) -> list[dict]:
        """The lines of a CSV file with these values; at least one."""
        lines = [x for x in self.lines(name) if all(x.get(k) == v for k, v in fixed.items())]
        if not lines:
            raise Missing(f"{name} has no {', '.join(fixed.values()) or 'lines'}")
        return lines

    def numbers(self, name: str, columns: Iterable[str], **fixed: str) -> list[np.ndarray]:
        """Columns (lines,) each; NaN where a line has none."""
        lines = self.select(name, **fixed)
        if lacks := [c for c in columns if c not in lines[0]]:
            raise Missing(f"{name} has no column {', '.join(lacks)}")
        try:
            return [np.array([float(x[c] or "nan") for x in lines]) for c in columns]
        except ValueError as error:
            raise damaged(os.path.join(self.folder, name), error)

    def curves(self, adapter: str, column: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """(steps, values) of each training seed, where the column is filled."""
        seed, x, y = self.numbers("metrics.csv", ("seed", "step", column), adapter=adapter)
        if np.isnan(y).all():
            raise Missing(f"metrics.csv has no {column} of {adapter}")
        return [(x[on], y[on]) for s in np.unique(seed) for on in [(seed == s) & ~np.isnan(y)]]

    def points(self, name: str, at: dict) -> np.ndarray | None:
        """(4, points): x, mean and 95 % interval in %, of the first table that has such a row.

        at: x -> the cell's name."""
        for row in (row for table in self.results["tables"] for row in table["rows"]):
            there = [(x, row["cells"][c]) for x, c in at.items() if c in row["cells"]]
            if row["name"] == name and there:
                return np.array([(x, 100 * cell["mean"], *(100 * v for v in cell["interval"]))
                                 for x, cell in there]).T
        return None

"""docs/walkthrough.ipynb: committed with its outputs, and its cells run."""
import json
import os
import re
import sys

import pytest

from conftest import ROOT

PATH = os.path.join(ROOT, "docs", "walkthrough.ipynb")
NOTEBOOK = json.load(open(PATH, encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
SMALL = """TRAIN_PROBLEMS, TEST_PROBLEMS, SAMPLES = 8, 4, 2
BANDIT_STEPS, ITERATIONS, ROLLOUTS = 60, 2, 16"""


def source(cell: dict) -> str:
    """Of a cell; the settings are small ones."""
    text = "".join(cell["source"])
    return SMALL if re.match(r"#.*\nTRAIN_PROBLEMS", text) else text


def test_it_is_committed_as_it_ran_with_three_plots():
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    outputs = [output for cell in CELLS for output in cell["outputs"]]
    assert not [x for x in outputs if x["output_type"] == "error" or x.get("name") == "stderr"]
    assert sum("image/png" in x.get("data", {}) for x in outputs) == 3


def test_its_cells_run_without_the_plots(monkeypatch, capsys):
    monkeypatch.chdir(os.path.join(ROOT, "docs"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = {}
    texts = [text for text in map(source, CELLS) if "\nshow_" not in text]
    assert len(texts) == len(CELLS) - 3 and SMALL in texts
    for text in texts:
        exec(text, names)
    out = capsys.readouterr().out
    assert len(names["log"]) == 2 and re.search(r"^token level( +\d+\.\d){5}$", out, re.MULTILINE)


def test_it_runs_in_a_kernel():
    nbformat, nbclient = map(pytest.importorskip, ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    notebook = nbformat.read(PATH, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = source(cell)
    folder = {"metadata": {"path": os.path.join(ROOT, "docs")}}
    nbclient.NotebookClient(notebook, timeout=300, resources=folder).execute()     # or raises

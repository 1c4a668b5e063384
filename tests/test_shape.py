"""The shape that readers are promised: twelve files, packages beside them, one-way imports."""
import ast
import glob
import os
import subprocess
import sys

import pytest

from conftest import ROOT

CONCEPT = ("features", "bandit", "pomdp", "decode", "verify", "train", "eval",
           "lm", "batch", "tasks", "tiny", "sample")
PROGRAMS = ("train", "eval", "sample")
PACKAGES = ("utils", "grading", "experiment", "baselines", "report", "demos", "assignments")
# Left never imports right; what stands in one line may not import its neighbours either.
ORDER = (("utils",), ("grading", "features", "lm"), ("batch",), ("decode",),
         ("verify", "bandit", "tiny"), ("pomdp", "tasks"), ("experiment",), ("baselines", "report"),
         ("eval",), ("train",), ("sample", "demos", "assignments"))
RANK = {name: i for i, names in enumerate(ORDER) for name in names}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


FILES = {os.path.relpath(path, ROOT): read(path)
         for pattern in ("*.py", *(f"{name}/*.py" for name in PACKAGES))
         for path in sorted(glob.glob(os.path.join(ROOT, pattern)))}


def imports(text: str) -> set[str]:
    """Every module that a file imports, inside functions too: utils.cli, decode."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_twelve_files_stand_at_the_top():
    assert {path for path in FILES if os.sep not in path} == {f"{name}.py" for name in CONCEPT}


@pytest.mark.parametrize("path", FILES)
def test_imports_go_one_way(path):
    top = path.replace(os.sep, ".").split(".")[0]
    for module in imports(FILES[path]):
        other = module.split(".")[0]
        if other in RANK and other != top:
            assert RANK[other] < RANK[top], f"{path} imports {module}"


def modules() -> dict[str, str]:
    """Module name -> text, such as utils.cli."""
    names = {path: path.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")
             for path in FILES}
    return {names[path]: text for path, text in FILES.items()}


def test_no_imports_go_in_a_circle():
    texts = modules()
    edges = {name: imports(text) & set(texts) - {name} for name, text in texts.items()}
    while leaves := {name for name, others in edges.items() if not others & set(edges)}:
        edges = {name: others for name, others in edges.items() if name not in leaves}
    assert not edges, f"in a circle, or behind one: {sorted(edges)}"


@pytest.mark.parametrize("path", FILES)
def test_only_programs_import_what_changes_the_process(path):
    program = '\nif __name__ == "__main__":\n' in FILES[path]
    if os.sep not in path:
        assert program == (path.removesuffix(".py") in PROGRAMS)
    assert program or "utils.cli" not in imports(FILES[path])


IMPORT = """
import os, sys, time
{ready}
before, start = (dict(os.environ), sys.excepthook), time.perf_counter()
import {module}
print(time.perf_counter() - start, before == (dict(os.environ), sys.excepthook))
"""


def seconds(module: str, ready: str = "") -> tuple[float, bool]:
    """(time of the import, does the process stay as it was?), the best of three.

    ready: code that runs before.
    """
    command = [sys.executable, "-c", IMPORT.format(module=module, ready=ready)]
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            .stdout.split() for _ in range(3)]
    return min(float(passed) for passed, _ in runs), all(same == "True" for _, same in runs)


def test_bandit_is_imported_about_as_fast_as_torch():
    torch, bandit = seconds("torch, numpy")[0], seconds("bandit")[0]
    assert bandit < 1.3 * torch + 0.1, (bandit, torch)


def test_no_concept_file_changes_the_process_that_imports_it():
    concept = ", ".join(name for name in CONCEPT if name not in PROGRAMS)
    others = "from transformers import PreTrainedModel; import torch, tqdm"
    assert seconds(concept, others)[1]


def test_files_are_short_and_the_twelve_can_be_read_end_to_end():
    lines = {path: text.count("\n") for path, text in FILES.items()}
    assert not {path: n for path, n in lines.items() if n > 350}
    assert sum(lines[f"{name}.py"] for name in CONCEPT) < 3200
    assert sum(n for path, n in lines.items() if not path.startswith("assignments")) < 12100


def test_functions_are_at_most_60_lines():
    functions = {f"{path}: {node.name}": node.end_lineno - node.lineno + 1
                 for path, text in FILES.items() for node in ast.walk(ast.parse(text))
                 if isinstance(node, ast.FunctionDef)}
    assert len(functions) > 300 and not {k: n for k, n in functions.items() if n > 60}


def test_every_concept_file_opens_with_its_deviations_from_the_paper():
    for name in CONCEPT:
        head = ast.get_docstring(ast.parse(FILES[f"{name}.py"]))
        assert name in ("batch", "lm", "sample") or "Deviations from the paper" in head, name

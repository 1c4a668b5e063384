"""The shape that readers are promised: short files, short functions, a small concept."""
import ast
import glob
import os

from conftest import ROOT

FILES = {os.path.relpath(path, ROOT): open(path, encoding="utf-8").read()
         for pattern in ("*.py", "assignments/*.py", "examples/*.py")
         for path in sorted(glob.glob(os.path.join(ROOT, pattern)))}
CONCEPT = ("decode", "features", "bandit", "pomdp", "verify", "tasks", "tiny", "train", "eval")


def test_files_are_under_350_lines_and_the_nine_of_the_concept_under_2200():
    lines = {path: text.count("\n") for path, text in FILES.items()}
    assert not {path: n for path, n in lines.items() if n >= 350}
    assert sum(lines[f"{name}.py"] for name in CONCEPT) < 2200


def test_functions_are_at_most_60_lines():
    functions = {f"{path}: {node.name}": node.end_lineno - node.lineno + 1
                 for path, text in FILES.items() for node in ast.walk(ast.parse(text))
                 if isinstance(node, ast.FunctionDef)}
    assert len(functions) > 300 and not {k: n for k, n in functions.items() if n > 60}


def test_every_concept_file_is_a_program_and_opens_with_its_command_and_its_deviations():
    for name in CONCEPT:
        head = ast.get_docstring(ast.parse(FILES[f"{name}.py"]))
        assert f"python {name}.py" in head and "Deviations from the paper" in head, name
        assert '\nif __name__ == "__main__":\n' in FILES[f"{name}.py"], name

"""The course's handout: this repository without the bodies of the functions that students write.

    python assignments/make.py OUT           # a new or empty folder, outside of this repository
    python assignments/check.py              # do the tests grade? Every mistake must be found

A line "# assignment N" in a function is where the handout's version of it stops: from there to the
function's end a comment with the task takes its place, out of tasks.toml. All else stays as it is,
so the handout cannot fall behind this code.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from utils.cli import run_program

import ast
import fnmatch
import re
import shutil
import subprocess
import tempfile
import textwrap
import tomllib
from typing import NamedTuple

from utils.errors import UserError
from utils.options import Parser

HERE = os.path.dirname(os.path.abspath(__file__))
MARKER = re.compile(r"^ +# assignment (\d+)$")
OURS = ("assignments/", ".ci/", "tests/test_assignments.py")     # the teacher's, not handed out


def tasks() -> dict[int, dict]:
    """Of tasks.toml: number -> title, difficulty, hours, task, shapes, hint."""
    with open(os.path.join(HERE, "tasks.toml"), "rb") as file:
        return {entry["number"]: entry for entry in tomllib.load(file)["assignment"]}


# ---- where the cuts are -------------------------------------------------------------------------
class Cut(NamedTuple):
    """Lines first .. last of a file, counted from 0, the last left out; the marker is the first."""
    number: int
    function: str                          # such as LinUCB.update
    first: int
    last: int


def cuts(text: str) -> list[Cut]:
    """Of a Python file, in order. Raises UserError for a marker outside of every function."""
    lines, found = text.split("\n"), []
    markers = [(i, int(m[1])) for i, line in enumerate(lines) if (m := MARKER.match(line))]
    functions = list(_functions(ast.parse(text))) if markers else []
    for i, number in markers:
        around = [(name, node) for name, node in functions if node.lineno <= i < node.end_lineno]
        if not around:
            raise UserError(f'line {i + 1}: "# assignment {number}" stands in no function')
        name, node = around[-1]                                                # the innermost
        found.append(Cut(number, name, i, node.end_lineno))
    return found


def _functions(tree, prefix=""):
    """(name, node) of all functions, an outer one before those in it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if isinstance(node, ast.FunctionDef):
                yield prefix + node.name, node
            yield from _functions(node, f"{prefix}{node.name}.")


def body(text: str, cut: Cut) -> str:
    return "\n".join(text.split("\n")[cut.first:cut.last])


def blank(path: str, text: str, keep: int | None = None) -> str:
    """A file as the handout has it. keep: the assignment that stays solved."""
    lines, found = text.split("\n"), cuts(text)
    for cut in reversed(found):
        if cut.number != keep:
            first = next(c for c in found if c.number == cut.number)
            lines[cut.first:cut.last] = _stand_in(path, cut, first, lines[cut.first])
    return "\n".join(lines)


def _stand_in(path: str, cut: Cut, first: Cut, marker: str) -> list[str]:
    """The lines of a comment with the task, and a `raise`."""
    indent, task = re.match(" *", marker)[0], tasks()[cut.number]
    said = [f"Assignment {cut.number}: {task['title']}", task["task"], "Shapes: " + task["shapes"],
            "Hint: " + task["hint"], f"Graded by: ./run -m pytest -m assignment_{cut.number}"]
    if cut != first:
        said = [f"Assignment {cut.number} as well: see `{first.function}` above."]
    comment = [line for part in said for item in part.strip().split("\n- ")
               for line in textwrap.wrap(" ".join(item.split()), 98 - len(indent))]
    return [*(f"{indent}# {line}" for line in comment),
            f"{indent}raise NotImplementedError("
            f'"assignment {cut.number}: {cut.function} of {path}")']


# ---- the folder ---------------------------------------------------------------------------------
def sources() -> list[str]:
    """What is handed out: tracked files, or without git all that .gitignore does not name."""
    if os.path.exists(os.path.join(ROOT, ".git")) and shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
        if listed.returncode:
            raise UserError(f"git ls-files: {listed.stderr.decode().strip()}")
        paths = [path for path in listed.stdout.decode().split("\0") if path]
    else:
        paths = _walk()
    return [path for path in sorted(paths)
            if not path.startswith(OURS) and os.path.isfile(os.path.join(ROOT, path))]


def _walk() -> list[str]:
    with open(os.path.join(ROOT, ".gitignore")) as file:
        ignored = [line.strip().rstrip("/") for line in file if line.strip()] + [".git"]

    def kept(name):
        return not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)

    paths = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = filter(kept, folders)
        paths += [os.path.relpath(os.path.join(folder, name), ROOT) for name in filter(kept, names)]
    return paths


def handout(out: str):
    """Writes the handout to `out`: whole or not at all. Raises UserError where it cannot."""
    out, root = os.path.abspath(out), os.path.realpath(ROOT)
    if os.path.commonpath([os.path.realpath(out), root]) == root:
        raise UserError(f"{out} lies in this repository: name a folder outside of it")
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise UserError(f"{out} exists and is not empty")
    try:
        part = tempfile.mkdtemp(prefix=".handout-", dir=os.path.dirname(out))
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}")
    try:
        new = os.path.join(part, "handout")          # with the user's umask, as mkdtemp's is not
        for path in sources():
            os.makedirs(os.path.dirname(os.path.join(new, path)), exist_ok=True)
            _copy(path, os.path.join(new, path))
        _write(os.path.join(new, "ASSIGNMENTS.md"), for_students(_read(HERE, "README.md")))
        _write(os.path.join(new, "README.md"), without_course(_read(ROOT, "README.md")))
        os.replace(new, out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(path: str, to: str):
    shutil.copy(os.path.join(ROOT, path), to)                                  # and its mode
    if path.endswith(".py") and cuts(text := _read(ROOT, path)):
        _write(to, blank(path, text))


def _read(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def _write(path: str, text: str):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def for_students(text: str) -> str:
    """assignments/README.md without what teachers alone should read."""
    return text.partition("\n## For teachers")[0] + "\n"


def without_course(text: str) -> str:
    """README.md without what is not in a handout."""
    lines = text.split("\n")
    return "\n".join(line for line in lines if not line.startswith("| `assignments/` "))


def main():
    parser = Parser(description="Write the course's handout.")
    parser.add_argument("out", help="a new or empty folder, outside of this repository")
    out = parser.parse_args().out
    handout(out)
    print(f"wrote {out}: hand it out as it is, without this repository's .git; "
          "students begin with ASSIGNMENTS.md")


if __name__ == "__main__":
    run_program("make.py", main)

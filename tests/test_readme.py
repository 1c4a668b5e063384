"""A new user's path: every command of README.md, docs/ and the files' first lines is one that its
program takes, the quick ones run on a finished run's folder, and what the pages name is there."""
import ast
import dataclasses
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from utils import options
from experiment import config
from conftest import ROOT, SHORT, execute

PAGES = {os.path.relpath(path, ROOT): open(path, encoding="utf-8").read()
         for pattern in ("README.md", "docs/*.md")
         for path in sorted(glob.glob(os.path.join(ROOT, pattern)))}
README = PAGES["README.md"]
ALL_PAGES = "\n".join(PAGES.values())
PATHS = [path for pattern in ("*.py", "baselines/*.py", "demos/*.py", "experiment/*.py",
                              "report/*.py", "utils/*.py")
         for path in sorted(glob.glob(os.path.join(ROOT, pattern)))]
HEADS = {os.path.relpath(path, ROOT):
         ast.get_docstring(ast.parse(open(path, encoding="utf-8").read())) for path in PATHS}
START = r"(?:\./run|python3?|torchrun)\s"
# Those that read a run's folder or need none, and end in seconds.
QUICK = ("sample.py", "eval.py", "demos.memory", "report.figures", "demos.replay", "report.page",
         "report.sample_svg", "demos.remake")


def blocks(text: str) -> list[str]:
    """Lines in fences or indented that start a program; continued lines are one."""
    lines, fenced = [], False
    for line in text.replace("\\\n", " ").split("\n"):
        fenced ^= line.lstrip().startswith("```")
        if re.match(rf"(?:\$ )?{START}", line.strip()) and (fenced or line.startswith("    ")):
            lines.append(line.strip().removeprefix("$ "))
    return lines


def commands(text: str) -> list[list[str]]:
    """[program, argument ..], the program a file or a module; pytest and python -c are left out,
    and .. for more of the same."""
    inline = re.findall(rf"`({START}[^`]+)`", text.replace("\n", " "))
    found = []
    for line in blocks(text) + inline:
        for part in shlex.join(shlex.split(line, comments=True)).split("'&&'"):
            words = [x for x in shlex.split(part) if x not in ("..", "...", "…")]
            names = [i for i, x in enumerate(words)
                     if re.fullmatch(r"[\w/]+\.py|(demos|report)\.\w+", x)]
            if names and "pytest" not in words:
                found.append(words[names[0]:])
    return found


ALL = {" ".join(x): x for text in (*PAGES.values(), *HEADS.values()) for x in commands(text or "")}


def test_the_commands_are_found():
    assert ["train.py"] in commands(README) and len(commands(ALL_PAGES)) > 40
    assert commands("    ./run a.py 'x y' && ./run b.py ..   # c\n") == [["a.py", "x y"], ["b.py"]]
    assert commands("```\n./run a.py \\\n  --b\n```\nsee `python c.py`") == [
        ["a.py", "--b"], ["c.py"]]


FIELDS = {field.name for field in dataclasses.fields(config.Config)}


class Taken(Exception):
    """The parser took the command line: the program goes no further."""


@pytest.mark.parametrize("command", ALL.values(), ids=ALL)
def test_a_command_is_one_that_its_program_takes(command, monkeypatch):
    program, *arguments = command
    arguments = ["1" if re.fullmatch("[A-Z]+", x) else x for x in arguments]      # DATA, ROWS
    path = program if program.endswith(".py") else program.replace(".", "/") + ".py"
    if f"# {path}: " in ALL_PAGES:
        pytest.skip("a program that a page shows")
    parse, source = options.Parser.parse_args, open(os.path.join(ROOT, path)).read()
    if "Parser(" not in source and program != "train.py":
        pytest.skip(f"{program} has no options of the kind that utils/options.py reads")

    def stop(self, *given):
        taken = parse(self, *given)
        if program == "train.py":
            config.check(config.Config(**{k: v for k, v in vars(taken).items() if k in FIELDS}))
        raise Taken

    monkeypatch.setattr(options.Parser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.setattr(sys, "path", [os.path.dirname(os.path.join(ROOT, path)), *sys.path])
    with pytest.raises((Taken, SystemExit)) as end:
        execute(program)
    assert end.type is Taken or end.value.code == 0, end.value


def on(run: str, command: list[str]) -> list[str]:
    """The same command on this run, of 2 samples a problem, and the small LM."""
    words = [run if re.fullmatch(r"runs/\w+/?", x) else x for x in command]
    for before, word in (("--parallel", "1,2"), ("demos.memory", "tiny"), ("--rows", "8"),
                         ("--tokens", "9"), ("--problem", "1")):
        if before in words:
            words[words.index(before) + 1] = word
    return words


RUNS = {name: x for name, x in ALL.items() if x[0] in QUICK and "--against" not in x
        and "OWNER/NAME" not in x and x in commands(ALL_PAGES)
        and not any(word.endswith(".npz") for word in x)}             # a real LLM's: two minutes


@pytest.fixture(scope="module")
def user(unbroken, tmp_path_factory):
    """A folder of this user's own: what is written here is no part of others' runs."""
    folder = tmp_path_factory.mktemp("another user")
    shutil.copytree(unbroken[0] / "runs", folder / "runs")
    return folder


@pytest.mark.parametrize("command", RUNS.values(), ids=RUNS)
def test_a_quick_command_runs(command, user, finish):
    if command[0] == "report.figures":
        pytest.importorskip("matplotlib")
    assert " " in str(user)
    code, out, err = finish(*on(str(user / "runs" / "sums"), command), folder=user)
    assert code == 0 and out, err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", out), "control characters in a file"


def test_what_the_readme_links_to_is_there():
    missing, links = [], 0
    for page, text in PAGES.items():
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            links += 1
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(page), link)):
                missing.append((page, link))
    assert links > 20 and not missing


def test_the_table_that_the_readme_shows_is_that_of_the_reference_run():
    table = re.search(r"    Pass@1 in %.*?\n\n", README, re.DOTALL).group()
    printed = open(os.path.join(ROOT, "reference", "default.txt"), encoding="utf-8").read()
    lines = [line.strip() for line in table.strip().split("\n")]
    assert len(lines) == 6 and not [line for line in lines if f"\n{line}\n" not in printed]


def test_the_readme_is_two_screens_of_a_hundred_lines():
    assert README.count("\n") <= 200


def names_of(path: str) -> set[str]:
    """What a file defines: functions, classes, their methods, constants."""
    names = set()
    for node in ast.parse(open(os.path.join(ROOT, path), encoding="utf-8").read()).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        names |= {x.id for target in targets for x in ast.walk(target) if isinstance(x, ast.Name)}
        names.add(getattr(node, "name", ""))
        names |= {f"{node.name}.{x.name}" for x in getattr(node, "body", ())
                  if isinstance(node, ast.ClassDef) and isinstance(x, ast.FunctionDef)}
    return names


def test_the_files_and_functions_that_the_readme_names_are_there():
    files = set(re.findall(r"`((?:\w+/)?\w+\.py)\b", ALL_PAGES))
    shown = {x for x in files if f"# {x}: " in ALL_PAGES}             # programs of the user's own
    assert not [x for x in files - shown if not os.path.exists(os.path.join(ROOT, x))]
    named = re.findall(r"`((?:\w+/)?\w+\.py): (\w[^`]*)`", ALL_PAGES)
    assert named and not [(file, x) for file, listed in named for x in listed.split(", ")
                          if x not in names_of(file)]


# ---- the programs that the README shows ---------------------------------------------------------
PROGRAMS = {x.split(":")[0]: x for x in re.findall(r"```python\n# (.*?)```", ALL_PAGES, re.DOTALL)}
MINE = [*SHORT, "--styles", "cot", "--iterations", "2"]


def written(folder, name: str) -> str:
    """The program on disk, as a user copies it."""
    path = folder / name
    path.write_text("# " + PROGRAMS[name])
    return str(path)


def test_the_programs_are_short():
    assert len(PROGRAMS) == 4 and max(x.count("\n") for x in PROGRAMS.values()) < 20


def test_a_task_of_ones_own(tmp_path, finish):
    for part, count in (("train", 40), ("test", 3)):
        rows = [{"question": f"{i}+{i + 3}", "answer": str(2 * i + 3)} for i in range(count)]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, err = finish(written(tmp_path, "mytask.py"), "--task", "mine", "--data",
                            str(tmp_path), *MINE, folder=tmp_path)
    assert code == 0, err
    assert re.search(r"^right answer: '\d+', reward [01]$", out, re.MULTILINE)
    assert (tmp_path / "runs" / "mine" / "results.json").exists()


def test_a_model_of_ones_own(tmp_path, finish):
    (tmp_path / "weights").symlink_to(os.path.join(ROOT, "weights"))
    code, _, err = finish(written(tmp_path, "mymodel.py"), folder=tmp_path)
    assert code == 0, err
    code, out, err = finish("train.py", "--model", "models/mine", *MINE, folder=tmp_path)
    assert code == 0 and "token level" in out, err


def test_an_action_of_ones_own(tmp_path):
    """In an interpreter of its own: in a fork the actions have been imported before."""
    done = subprocess.run([sys.executable, written(tmp_path, "myaction.py"), *MINE], text=True,
                          cwd=tmp_path, env=os.environ | {"PYTHONPATH": ROOT}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "share_tau1.5" in (tmp_path / "runs" / "sums" / "metrics.csv").read_text()


def test_a_bandit_of_ones_own(tmp_path, finish):
    code, out, err = finish(written(tmp_path, "mybandit.py"), *MINE, "--tables", folder=tmp_path)
    assert code == 0 and "\nThompson sampling " in out, err
    assert (tmp_path / "runs" / "sums" / "thompson-cot-0.safetensors").exists()


def test_a_page_shows_the_example_as_it_is():
    example = open(os.path.join(ROOT, "demos", "adapter.py"), encoding="utf-8").read()
    assert f"```python\n{example.split(chr(34) * 3)[2].strip()}\n```" in PAGES["docs/extending.md"]

"""The handout: cut where it is marked and nowhere else, written whole or not at all."""
import ast
import os
import re
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "assignments"))
import make
from utils.errors import UserError

FUNCTIONS = {1: ["probs", "top_k_top_p"], 2: ["Batch._forward"], 3: ["LM.prefill"],
             4: ["reinforce_loss"], 5: ["LinUCB.width", "LinUCB.update"], 6: ["coverage"],
             7: ["gae"], 8: ["ppo_loss"], 9: ["pass_at"], 10: ["resampling_weights", "resampled"],
             11: ["extract_answer"], 12: ["backward_induction"]}


def read(*path) -> str:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("course") / "a hand out")
    make.handout(out)
    return out


def test_the_twelve_assignments_are_marked_described_and_registered():
    found = {}
    for path in make.sources():
        if path.endswith(".py"):
            for cut in make.cuts(read(ROOT, path)):
                found.setdefault(cut.number, []).append(cut.function)
    assert dict(sorted(found.items())) == FUNCTIONS
    assert list(make.tasks()) == list(FUNCTIONS)
    registered = re.findall(r'"assignment_(\d+): (.*)"', read(ROOT, "pyproject.toml"))
    assert [(int(n), title) for n, title in registered] == [
        (n, task["title"]) for n, task in make.tasks().items()]
    for number, task in make.tasks().items():                   # and they stand in the table
        line, = re.findall(rf"^\| {number} \| .*", read(make.HERE, "README.md"), re.MULTILINE)
        assert line.startswith(f"| {number} | {task['title']} | ")
        assert line.endswith(f" | {task['difficulty']} | {task['hours']} |")
        assert all(f"`{name}`" in line for name in FUNCTIONS[number])


def test_the_handout_is_this_code_but_for_the_marked_bodies(handout):
    paths = [os.path.relpath(os.path.join(folder, name), handout)
             for folder, _, names in os.walk(handout) for name in names]
    assert sorted(paths) == sorted([*make.sources(), "ASSIGNMENTS.md"])
    assert not any(path.startswith(("assignments", ".git/", "runs", ".venv")) for path in paths)
    for path in make.sources():
        ours, theirs = os.path.join(ROOT, path), os.path.join(handout, path)
        assert os.access(ours, os.X_OK) == os.access(theirs, os.X_OK)
        there = make.cuts(read(ours)) if path.endswith(".py") else []
        if path == "README.md":                        # without the course, which is not there
            assert "assignments" not in read(theirs) and "## Deviations" in read(theirs)
            continue
        if not there:
            assert open(ours, "rb").read() == open(theirs, "rb").read()
            continue
        lines, rest, start = read(ours).split("\n"), read(theirs), 0
        for cut in there:                       # what is kept, a comment, a raise, what is kept ..
            kept = "\n" * bool(start) + "\n".join(lines[start:cut.first])
            assert rest.startswith(kept)
            stand_in = re.match(r"\n?( +# Assignment .*\n)( +#.*\n)* +raise NotImplementedError.*",
                                rest[len(kept):])
            assert f"assignment {cut.number}: {cut.function}" in stand_in[0].split("\n")[-1]
            rest, start = rest[len(kept) + stand_in.end():], cut.last
        assert rest == "\n" + "\n".join(lines[start:])
        assert max(map(len, read(theirs).split("\n"))) <= 100


def test_no_answer_and_no_marker_is_left_in_the_handout(handout):
    """Every line of code that was cut, unless it is short, stands nowhere in its file."""
    for path in (p for p in make.sources() if p.endswith(".py")):
        text = read(ROOT, path)
        left = {line.strip() for line in read(handout, path).split("\n")}
        assert not any(make.MARKER.match(line) for line in read(handout, path).split("\n"))
        for cut in make.cuts(text):
            there = {line.split("  #")[0].strip() for line in make.body(text, cut).split("\n")}
            given = {x for x in there if len(x) > 40} & {x.split("  #")[0].strip() for x in left}
            assert len(given) <= (cut.function == "ppo_loss"), given       # REINFORCE's entropy
        ast.parse(read(handout, path))


def test_one_assignment_can_be_put_back(handout):
    text = read(ROOT, "bandit.py")
    assert make.blank("bandit.py", text) == read(handout, "bandit.py")
    kept = make.blank("bandit.py", text, 6)
    assert [cut.number for cut in make.cuts(kept)] == [6] and kept.count("raise NotImpl") == 4


def test_a_cut_ends_with_the_innermost_function_and_one_outside_of_all_is_named():
    lines = ["class A:", "    def f():", "        def g():", "            # assignment 3",
             "            pass", "        return g"]
    assert make.cuts("\n".join(lines)) == [make.Cut(3, "A.f.g", 3, 5)]
    with pytest.raises(UserError, match='line 2: "# assignment 3"'):
        make.cuts("if x:\n    # assignment 3\n    pass\n")


def test_without_git_what_is_ignored_stays_here(handout, tmp_path, monkeypatch):
    copy, paths = str(tmp_path / "copy"), make.sources()
    shutil.copytree(handout, copy)
    for path in (".git/a", ".venv/a.py", "runs/b/c.json", "tests/__pycache__/d.pyc", "e.tmp"):
        os.makedirs(os.path.dirname(os.path.join(copy, path)), exist_ok=True)
        open(os.path.join(copy, path), "w").close()
    monkeypatch.setattr(make, "ROOT", copy)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert make.sources() == sorted([*paths, "ASSIGNMENTS.md"])


def test_a_wrong_folder_gets_one_line_and_stays_as_it_was(tmp_path):
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "mine").write_text("1")
    file.write_text("2")
    for out, what in ((full, "exists and is not empty"), (file, "exists and is not empty"),
                      (tmp_path / "no" / "folder", "No such file"), (file / "in", "Not a dir"),
                      ("/proc/handout", "cannot write"),          # for root, too
                      (os.path.join(ROOT, "handout"), "lies in this repository")):
        with pytest.raises(UserError, match=what):
            make.handout(str(out))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "full", "mine"]
    done = subprocess.run([sys.executable, os.path.join(ROOT, "assignments", "make.py"), str(full)],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "not empty" in done.stderr


def test_an_empty_folder_is_filled(tmp_path):
    make.handout(str(tmp_path))
    assert "gae of pomdp.py" in read(tmp_path, "pomdp.py")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_is_left_of_a_handout_that_is_interrupted(tmp_path, monkeypatch, error):
    copy, seen = shutil.copy, []

    def stop(*paths):
        seen.append(paths)
        if len(seen) == 30:
            raise error
        return copy(*paths)

    monkeypatch.setattr(shutil, "copy", stop)
    with pytest.raises((KeyboardInterrupt, UserError)):
        make.handout(str(tmp_path / "out"))
    assert len(seen) == 30 and not list(tmp_path.iterdir())


def test_a_mistake_whose_place_is_gone_is_an_error():
    import check
    files = check.cut_files()
    changed = check.mutated(files, 7, "lam * next_advantage", "next_advantage")
    assert list(changed) == ["pomdp.py"] and changed["pomdp.py"] != files["pomdp.py"]
    for old in ("no such line", "next_value", "ratio"):            # none, two, another assignment's
        with pytest.raises(UserError, match="not found exactly once"):
            check.mutated(files, 7, old, "")

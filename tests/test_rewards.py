"""Rewards: given while the LM decodes, each to its own episode; which code of an answer counts."""
import textwrap
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from utils.errors import UserError
from decode import GREEDY, Strategy, generate, static
from demos import headroom
from demos.prompt_headroom import left_out
from experiment.reward_table import collect
from tasks import TASKS, Task, code_contests_problem, mbpp_problem
from utils.problem_files import Problem, Source
from verify import grade_function, grade_program

AT_T1 = static(torch.tensor(Strategy(1.0)).repeat(48, 1))


@pytest.fixture(scope="module")
def task():
    return TASKS["sums"](Source("", "", 12, 2))


def test_programs_are_graded_while_the_lm_decodes_others(lm, task, monkeypatch):
    prompts = [task.prompt(p, "cot") for p in task.train]
    told, forwards, forward = [], [], lm.forward
    monkeypatch.setattr(lm, "forward", lambda *x: forwards.append(0) or forward(*x))
    monkeypatch.setattr(Task, "runs_programs", True)

    def grade(prompt, tokens):
        told.append((threading.current_thread(), len(forwards)))
        return prompt + len(tokens) / 100

    episodes = collect(lm, task, prompts, AT_T1, torch.full((48,), 40), 4, 0, 8, grade)
    right = [x.prompt + len(x.tokens) / 100 for x in episodes]
    assert [x.reward for x in episodes] == right
    assert all(thread is not threading.main_thread() for thread, _ in told)
    assert min(at for _, at in told) < len(forwards) / 2
    monkeypatch.setattr(Task, "runs_programs", False)
    episodes = collect(lm, task, prompts, AT_T1, torch.full((48,), 40), 4, 0, 8, grade)
    assert [x.reward for x in episodes] == right


def test_a_grader_that_cannot_work_stops_the_run(lm, task):
    def grade(prompt, tokens):
        raise UserError("programs cannot be run here")

    with pytest.raises(UserError, match="cannot be run"):
        collect(lm, task, [task.prompt(task.train[0], "cot")], AT_T1, torch.full((2,), 9), 2, 0, 8,
             grade)


# ---- which code counts --------------------------------------------------------------------------
def block(code, fence="```", language="python", indent=0):
    return textwrap.indent(f"{fence}{language}\n{code}{fence}\n", " " * indent)


HEADER = 'import math\n\ndef half(x):\n    return x / 2\n\ndef twice(x):\n    """Twice x."""\n'
TWICE = "def twice(x):\n    return 2 * x\n"
WRONG = "def twice(x):\n    return x\n"
USE = "Example:\n" + block("print(twice(3))\nraise SystemExit\n")
HUMANEVAL = Problem(HEADER, "", check="def check(f):\n    assert f(2) == 4\ncheck(twice)\n")
MBPP = mbpp_problem({"text": "Twice.", "code": TWICE, "task_id": 601, "test_setup_code": "",
                     "test_list": ["assert twice(2) == 4", "assert twice(0) == 0"]})


@pytest.mark.parametrize("text, r", [
    (block(TWICE) + USE, 1), (USE + block(TWICE), 1), (block(WRONG) + block(TWICE), 1),
    (block(TWICE) + block(WRONG), 0), (block(TWICE) + block("async " + TWICE), 0),
    (block(TWICE) + block("2 4\n", language="") + USE, 1),
    (block(TWICE, language="") + USE, 1), (block(TWICE) + block("python f.py\n", "```", "sh"), 1),
    (block("import math\n") + block("def twice(x):\n    return math.floor(2 * x)\n"), 1),
    (block("def add(x, y):\n    return x + y\n") + block("twice = lambda x: add(x, x)\n") + USE, 1),
    (block(TWICE) + block("class A:\n    def twice(self):\n        return 0\n"), 1),
    (block("class A:\n    def twice(self, x):\n        return 2 * x\n"), 0),
    (block("def f():\n    def twice(x):\n        return 2 * x\n"), 0), (block("async " + TWICE), 0),
    (block(TWICE) + block("from solution import twice\nanswer = twice(3)\n"), 1),
    ("1. Write:\n\n" + block(TWICE, indent=3) + "\n2. Use:\n\n" + block("twice(3)\n", indent=3), 1),
    ("1. ```python\n" + textwrap.indent(TWICE, "   ") + "   ```\n", 1),
    ("   ```python\ndef twice(x):\n  return 2 * x\n   ```\n" + USE, 1),
    (block(textwrap.indent(TWICE, "  ")), 1), ("\t```python\n\t" + TWICE.replace("\n", "\n\t"), 1),
    (block(TWICE, "~~~") + USE, 1), (block("'''\n```\n'''\n" + TWICE, "````") + USE, 1),
    (block('def twice(x):\n    """\n    ```python\n    ```\n    """\n    return 2 * x\n') + USE, 1),
    *((block(TWICE, language=name) + USE, 1)
      for name in ("Python3", "py", " python", "{.python}", "python:a.py", 'python title="a"')),
    ((block(TWICE) + USE).replace("\n", "\r\n"), 1), (block(TWICE.replace("    ", "\t")), 1),
    ("Answer: " + block(TWICE) + USE, 1), (f"```python\n{TWICE.strip()}```\n" + USE, 1),
    ("```python\nimport os\n" + block(TWICE) + USE, 1), ("Use ```twice```:\n" + block(TWICE), 1)])
def test_the_last_block_that_defines_the_function_is_the_answer(text, r):
    assert grade_function(text, HUMANEVAL) == grade_function(text, MBPP) == r


@pytest.mark.parametrize("code, r", [
    (TWICE + "if __name__ == '__main__':\n    import sys; sys.exit()\n", 1),
    (TWICE + "if __name__ == '__main__':\n    print(input())\n", 1),
    ("from __future__ import annotations\n" + TWICE, 1),
    ('"""Twice."""\n# so\nfrom __future__ import annotations\n' + TWICE, 1),
    (TWICE + "import os\nos.write(1, b'x')\nimport sys\nprint(file=sys.__stdout__)\n", 1),
    (TWICE + "import atexit\natexit.register(lambda: 1 / 0)\n", 1),
    (TWICE + "import threading, time\nthreading.Thread(target=time.sleep, args=[60]).start()\n", 1),
    (TWICE + "import sys\nsys.exit()\n", 0), (TWICE + "import os\nos._exit(0)\n", 0),
    ("def twice(x):\n    raise SystemExit\n", 0), (TWICE + "input()\n", 0), (TWICE + "\0", 0)])
def test_a_function_runs_as_in_humanevals_harness(code, r):
    assert grade_function(block(code), HUMANEVAL) == grade_function(block(code), MBPP) == r


@pytest.mark.parametrize("text, r", [
    (block("    return int(2 * half(2 * x))\n") + USE, 1), (block("    return x\n") + USE, 0),
    (block("def twice(x):\n    return math.floor(4 * half(x))\n"), 1),
    (block("    return 2 * x\n") + "Output:\n" + block("    4\n", language=""), 1),
    ("    return 2 * x\n```\nUsage:\n" + USE, 1),
    ("1. So:\n\n" + block("    return 2 * x\n", indent=3) + USE, 1)])
def test_what_stands_in_the_header_counts(text, r):
    assert grade_function(text, HUMANEVAL) == r


DOUBLE = "n = int(input())\nprint(2 * n)\n"
SAMPLE = "Input:\n" + block("2\n", language="") + "Output:\n" + block("4\n", language="")


@pytest.mark.parametrize("text, r", [
    (block(DOUBLE) + SAMPLE, 1), (block(DOUBLE) + block("2\n"), 1), (block(DOUBLE, "~~~~"), 1),
    (block(DOUBLE, language="") + SAMPLE, 1), (block(DOUBLE, language="") + block("f(2)\n"), 1),
    (block(DOUBLE) + block("import io, sys\nsys.stdin = io.StringIO('1')\nsolve()\n"), 1),
    (block(DOUBLE) + block("# in place of input()\nprint(1)\n"), 1), (DOUBLE + "```\n" + SAMPLE, 1),
    (block("print(int(input()))\n") + block(DOUBLE), 1),
    (block(DOUBLE) + block("print(input())\n"), 0),
    (block("print(2 * int(open(0).read()))\n") + block("print(5)\n"), 1),
    ("1. So:\n\n" + block(DOUBLE, indent=3) + SAMPLE, 1), (block(textwrap.indent(DOUBLE, "  ")), 1),
    ("Idea:\n" + block("double it\n", language="") + "```py\n" + DOUBLE, 1)])
def test_the_last_block_that_reads_the_input_is_the_program(text, r):
    row = {"description": "q", "public_tests": {"input": ["2\n"], "output": ["4\n"]}}
    assert grade_program(text, code_contests_problem(row)) == r


@pytest.mark.parametrize("code, expected, r", [
    ("print(1 / 3)", "0.333333", 1), ("print('Yes')", "YES", 1),
    ("print(10**20 + 1)", str(10**20), 0)])
def test_outputs_are_compared_as_code_contests_compares_them(code, expected, r):
    row = {"description": "q", "public_tests": {"input": [""], "output": [expected]}}
    assert grade_program(block(code + "\n"), code_contests_problem(row)) == r


# ---- rules by hand (demos/headroom.py) ----------------------------------------------------------
def test_a_rule_is_greedy_but_where_it_acts(lm):
    hot = Strategy(1.25)
    prompts = ["7+8+5+9:", "12+3+4+11+6:"]
    everywhere = headroom.rule(lambda state: state.step >= 0, hot)
    nowhere = headroom.rule(lambda state: state.step < 0, hot)
    for policy, strategy in ((everywhere, hot), (nowhere, GREEDY)):
        ours = generate(lm, prompts, policy, 40, n=4)
        theirs = generate(lm, prompts, static(torch.tensor([strategy])), 40, n=4)
        assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(ours, theirs))
    # "#" opens a comment elsewhere, here it is an answer's mark: at most that fork differs
    where = headroom.rules(lm)["a comment"]
    state = SimpleNamespace(logits=torch.nn.functional.one_hot(
        torch.tensor([lm.encode("#")[-1], lm.encode("7")[-1]]), lm.vocabulary).float())
    assert where(state).tolist() == [True, False]


# ---- what a prompt tells (demos/prompt_headroom.py) ---------------------------------------------
def test_ridge_finds_the_arm_that_the_embedding_tells_and_nothing_where_it_tells_nothing():
    rng = np.random.default_rng(0)
    E = rng.normal(size=(400, 50))
    first = E[:, 0] > 0                            # the first arm solves these, the second the rest
    told = np.stack([first, ~first], 1).astype(float)                           # (400, 2)
    assert left_out(E, told).mean() < 0.6 and left_out(E, told, 1.0).mean() > 0.85
    luck = (rng.random((400, 2)) < 0.5).astype(float)
    assert luck.max(1).mean() > 0.7 and abs(left_out(E, luck, 1.0).mean() - 0.5) < 0.07


def test_no_problem_chooses_its_own_arm():
    """Each problem is solved by an arm of its own: without it the others know nothing of that."""
    alone = np.eye(20)
    assert left_out(np.eye(20), alone, 1e-6).sum() == left_out(np.eye(20), alone).sum() == 0

"""Tasks: splits that share nothing, bad lines named, the world of the small LM."""
import itertools
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import tasks
import tiny
import verify
from demos import prompts
from grading.sandbox import Verdict
from tasks import TASKS, code_contests_problem, math_problem
from utils.errors import UserError
from utils.problem_files import Problem, Source, train_test_split
from verify import extract_program, grade_function, grade_program


def test_sums_share_no_problem_between_splits_nor_with_the_lm_training():
    task = TASKS["sums"](Source("", "", 3000, 500))
    train, test = ({p.question for p in part} for part in (task.train, task.test))
    lm = {text for _, text in itertools.islice(tiny.problems("lm", 0), 20_000)}
    assert len(train) == 3000 and len(test) == 500
    assert not train & test and not train & lm and not test & lm


def test_sums_have_right_answers():
    task = TASKS["sums"](Source("", "", 50, 5))
    for p in task.train:
        assert p.answer == str(eval(p.question))
        assert task.grade(f"#{p.answer}", p, True) == 1
        assert task.grade(f"#{p.answer}0", p, True) == 0
        no_mark = f"2+{p.answer}={p.answer}"
        assert task.grade(no_mark, p, True) == task.grade("", p, True) == 0


def test_the_training_examples_follow_the_world_and_the_tokenizer_keeps_them(lm):
    given_up = carries = early = forks = 0
    called = []
    for prompt, completion in itertools.islice(tiny.training_examples(0), 2000):
        assert lm.text(lm.encode(prompt + completion)) == prompt + completion
        if prompt.endswith("#"):                                  # called to answer after some line
            called.append(prompt.count("=") / (prompt.split(":")[0].count("+") - 1))
            assert completion == str(eval(prompt.split(":")[0]))
            continue
        lines = [line.split("=") for line in completion.split("#")[0].split(";") if line]
        assert all(result in ("?", str(eval(left))) for left, result in lines)
        up = bool(lines) and lines[-1][1] == "?"
        assert up or completion.endswith(f"#{eval(prompt[:-1])}")
        assert (prompt[-1] == "?") == (not lines)
        given_up += up
        carries += sum(sum(int(x) % 10 for x in left.split("+")) > 9 for left, _ in lines)
        stops = not up and len(lines) < prompt.count("+")
        early += stops and bool(lines)
        forks += max(0, len(lines) - 1) + (stops and bool(lines))
    assert len(called) / 2000 == pytest.approx(tiny.CUT_SHORT, abs=0.03) and max(called) == 1
    assert given_up / carries == pytest.approx(tiny.GIVE_UP, abs=0.05)
    assert early / forks == pytest.approx(tiny.STOP, abs=0.05)


def test_a_bad_line_is_named_by_file_and_number(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"question": "1+1?", "answer": "#### 2"}) + "\n\n{oops\n")
    with pytest.raises(UserError, match=r"bad.jsonl, line 3"):
        TASKS["gsm8k"](Source(str(path), "", 5, 5))
    path.write_text(json.dumps({"question": ["1"], "answer": "#### 2"}))
    with pytest.raises(UserError, match=r"bad.jsonl, line 1"):
        TASKS["gsm8k"](Source(str(path), "", 5, 5))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        TASKS["gsm8k"](Source(str(path), "", 5, 5))
    path.write_text("")
    with pytest.raises(UserError, match="contains no training problem"):
        TASKS["gsm8k"](Source(str(path), "", 5, 5))
    with pytest.raises(UserError, match="cannot read"):
        TASKS["gsm8k"](Source(str(tmp_path / "missing.jsonl"), "", 5, 5))


def test_split_keeps_the_same_text_on_one_side_and_the_test_part_for_any_training_size():
    problems = [Problem(f"q{i % 30}", str(i)) for i in range(60)]
    train, test = train_test_split(problems, None, 100, 10)
    assert len(test) == 10 and len(train) == 20
    assert not {p.question for p in train} & {p.question for p in test}
    assert train_test_split(problems, None, 5, 10)[1] == test
    with pytest.raises(UserError):
        train_test_split(problems[:1], None, 1, 1)


def test_the_scripted_oracle_is_not_greedy_at_forks_when_the_whole_solution_does_not_fit(lm):
    import torch
    from batch import State
    from decode import GREEDY
    rows = torch.arange(3)
    logits = torch.zeros(3, 24)
    logits[:, lm.encode(";")[0]], logits[:, lm.encode("#")[0]] = 2.0, 1.5
    logits[2, lm.encode("7")[0]] = 5.0                                       # no fork
    budgets = torch.tensor([40, 12, 12])
    policy = tiny.scripted_oracle(lm, ["7+8+5:", "7+8+5:", "7+8+5:"], budgets, temperature=1.25)
    state = State(rows, None, logits, *[None] * 5)
    chosen = policy(state).strategies
    assert tiny.solution_length("7+8+5:") == len("7+8=15;15+5=20#20")
    assert chosen[0].tolist() == list(GREEDY) == chosen[2].tolist() and chosen[1, 0] == 1.25

# ---- tasks from files ---------------------------------------------------------------------------
def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


MATH = [{"problem": f"What is ${i}+1$?", "answer": str(i + 1), "level": 1 + i % 5,
         "solution": f"It is\n$\\boxed{{{i + 1}}}$."} for i in range(40)]


@pytest.mark.parametrize("row, answer, level", [
    ({"answer": "5", "level": 5}, "5", 5), ({"answer": "5", "level": "Level 5"}, "5", 5),
    ({"answer": "5", "level": "Level ?", "type": "Algebra"}, "5", None), ({"answer": 5}, "5", None),
    ({"solution": r"so \boxed{\frac{1}{2}} and \boxed{\sqrt{\frac{3}{4}}}"},
     r"\sqrt{\frac{3}{4}}", None)])
def test_math_in_the_wild(row, answer, level):
    problem = math_problem({"problem": " q ", **row})
    assert (problem.question, problem.answer, problem.difficulty) == ("q", answer, level)


def test_a_folder_has_its_splits_by_name_and_they_share_no_text(tmp_path):
    lines(tmp_path / "math_train.jsonl", MATH)
    copied = [{**MATH[3], "problem": "  what is\n$3+1$? ", "unique_id": "another"},
              {"problem": "new", "answer": "7", "level": 2}]
    lines(tmp_path / "math500_test.jsonl", copied)
    task = TASKS["math500"](Source(str(tmp_path), "", 100, 100))
    assert len(task.train) == 39 and len(task.test) == 2
    assert all(p.question != "What is $3+1$?" for p in task.train)
    task = TASKS["math500"](Source(str(tmp_path), "", 100, 1, difficulties=[2, 4]))
    assert {p.difficulty for p in task.train} == {2, 4} and len(task.test) == 1
    with pytest.raises(UserError, match="no file named math_test"):        # never cut unasked
        TASKS["math"](Source(str(tmp_path), "", 100, 5))
    task = TASKS["math"](Source(str(tmp_path / "math_train.jsonl"), "", 100, 5))
    assert len(task.test) == 5 and len(task.train) == 35
    lines(tmp_path / "aime2024_test.jsonl", [{"problem": "hard", "answer": 0}])       # has no level
    task = TASKS["aime2024"](Source(str(tmp_path), "", 100, 5, difficulties=[1]))
    assert [p.answer for p in task.test] == ["0"] and {p.difficulty for p in task.train} == {1}
    with pytest.raises(UserError, match="no file named gsm8k"):
        TASKS["gsm8k"](Source(str(tmp_path), "", 5, 5))
    with pytest.raises(UserError, match="--difficulties"):
        TASKS["math500"](Source(str(tmp_path), "", 5, 5, difficulties=[9]))


def test_held_out_problems_from_a_file_of_their_own(tmp_path):
    train, test = lines(tmp_path / "a.jsonl", MATH), lines(tmp_path / "b.jsonl", MATH[:4])
    with pytest.raises(UserError, match="contains no held-out problem"):
        TASKS["math"](Source(train, lines(tmp_path / "c.jsonl", []), 100, 100))
    task = TASKS["math"](Source(train, test, 100, 100))
    assert len(task.test) == 4 and len(task.train) == 36


@pytest.mark.parametrize("name, bad", [
    ("math", {"problem": "q"}), ("math", {"problem": "", "answer": "1"}), ("math", []),
    ("math", {"problem": "q", "answer": ["1"]}), ("gsm8k", {"question": "q", "answer": "7"}),
    ("gsm8k", {"question": "q", "answer": "7 ####"}), ("humaneval", {
        "prompt": "def f():", "canonical_solution": "", "test": "", "entry_point": "g"}),
    ("code_contests", {"description": "q"}), ("humaneval", {"prompt": "q"}), ("mbpp", {
        "text": "q", "code": "x = 1", "task_id": 11, "test_list": ["assert f() == 1"]})])
def test_a_row_that_is_no_problem_is_named(tmp_path, name, bad):
    with pytest.raises(UserError, match="x.jsonl, line 1: no problem"):
        TASKS[name](Source(lines(tmp_path / "x.jsonl", [bad]), "", 5, 5))


def test_a_hub_id_or_parquet_needs_the_optional_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)                       # as if not installed
    for data in ("openai/gsm8k:main", str(tmp_path / "x.parquet")):
        with pytest.raises(UserError, match="pip install datasets"):
            TASKS["gsm8k"](Source(data, "", 5, 5))
    with pytest.raises(UserError, match="cannot read no/such.jsonl"):
        TASKS["gsm8k"](Source("no/such.jsonl", "", 5, 5))


def test_a_hub_ids_splits_and_config(monkeypatch):
    def load_dataset(name, config):
        assert (name, config) == ("openai/gsm8k", "main")
        return {"train": [{"question": f"{i}?", "answer": f"#### {i}"} for i in range(9)],
                "test": [{"question": "3?", "answer": "#### 3"}]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    task = TASKS["gsm8k"](Source("openai/gsm8k:main", "", 50, 50))
    assert len(task.train) == 8 and [p.answer for p in task.test] == ["3"]


def test_parquet(tmp_path):
    pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    import datasets
    datasets.Dataset.from_list(MATH).to_parquet(str(tmp_path / "math_train.parquet"))
    task = TASKS["math"](Source(str(tmp_path / "math_train.parquet"), "", 50, 8))
    assert (len(task.train), len(task.test)) == (32, 8)


def test_examples_come_from_training_problems_and_set_the_stop(tmp_path):
    rows = [{"question": f"What is {i}+1?", "answer": f"It is <<{i}+1={i + 1}>>\nso.\n#### {i + 1}"}
            for i in range(40)]
    task = TASKS["gsm8k"](Source(lines(tmp_path / "x.jsonl", rows), "", 20, 20))
    before = list(task.train)
    assert task.stop is None and task.prompt(task.test[0], "direct").startswith("What is")
    task.add_examples(2, ["cot", "direct"])
    assert len(task.train) == 18 and all(x in before and x not in task.train
                                         for x in task.examples)
    a, b = task.examples
    task.chat = False
    assert task.stop == "\n" and task.prompt(task.test[0], "cot") == (
        f"Question: {a.question}\nAnswer: It is so. The answer is {a.answer}.\n\n"
        f"Question: {b.question}\nAnswer: It is so. The answer is {b.answer}.\n\n"
        f"Question: {task.test[0].question}\nAnswer:")
    assert f"Answer: The answer is {b.answer}.\n" in task.prompt(task.test[0], "either")
    task.chat = True                     # an instruction in the user's turn, behind the examples
    assert task.stop is None and task.prompt(task.test[0], "direct").endswith("explanation.")
    with pytest.raises(UserError, match="one more; there are 18 of 18"):
        task.add_examples(18, ["cot"])
    for x in task.train:
        x.solution = ""
    task.add_examples(16, ["direct"])
    assert len(task.examples) == 16 and len(task.train) == 2
    with pytest.raises(UserError, match="--styles direct"):
        task.add_examples(1, ["cot"])


def test_questions_may_hold_braces(tmp_path):
    rows = [{"problem": rf"$\frac{{{i}}}{{2}}$", "answer": "{x}"} for i in range(9)]
    task = TASKS["math"](Source(lines(tmp_path / "x.jsonl", rows), "", 9, 2))
    task.add_examples(1, ["direct"])
    assert task.test[0].question in task.prompt(task.test[0], "direct")


# ---- programs -----------------------------------------------------------------------------------
def test_programs_are_graded_by_all_their_tests():
    row = {"description": "Add.", "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
           "private_tests": {"input": ["5 5\n"], "output": ["10\n"]}, "generated_tests": None,
           "time_limit": {"seconds": 4, "nanos": 500_000_000}, "input_file": "",
           "solutions": {"language": [1, 3], "solution": ["print raw_input()", "print(3)"]}}
    problem = code_contests_problem(row)
    assert problem.tests == [("1 2\n", "3\n"), ("5 5\n", "10\n")]
    assert problem.seconds == 13.5 and problem.answer == "print(3)"
    assert grade_program("First\n```python\nprint(3)\n```", problem) == 0              # one of two
    right = "```python\nprint(1)\n```\nBetter:\n```python\nprint(sum(map(int, input().split())))"
    assert grade_program(right, problem) == 1 and grade_program(right + "\n```", problem) == 1
    assert grade_program("no program", problem) == 0
    assert code_contests_problem({**row, "input_file": "in.txt"}) is None


@pytest.mark.parametrize("text, program", [
    ("```python\nprint(3)\n```\nOutput:\n```\n3\n```", "print(3)\n"),
    ("Input:\n```text\n1 2\n```\nSolution:\n```python\nprint(3)\n```", "print(3)\n"),
    ("```Python\nprint(3)\n```\nDone.", "print(3)\n"), ("    return 1\n```\n", "    return 1\n"),
    ("Sure:\n```\nprint(3)\n```", "print(3)\n"), ("```py\nprint(3", "print(3"),
    ("print(3)", "print(3)"), ("<think>\n```python\nprint(3)\n```", ""), ("", "")])
def test_extract_program(text, program):
    assert extract_program(text) == program


HEADER = "import math\n\ndef twice(x):\n    \"\"\"Twice x.\"\"\"\n"
CHECK = "def check(f):\n    assert f(2) == 4 and f(3) == 6\ncheck(twice)\n"


@pytest.mark.parametrize("text, r", [
    ("    return 2 * x\n", 1), ("    return 3 * x\n", 0), ("", 0),
    ("    return 2 * x\n\nprint(twice(7))\nraise SystemExit\n", 1),              # cut behind it
    ("    print('busy')\n    return 2 * x", 1), ("    raise SystemExit(0)", 0),
    ("    import os; os._exit(0)", 0),
    ("Sure:\n```python\ndef twice(x):\n    return x + x\n```\nDone.", 1),
    ("```python\ndef thrice(x):\n    return x + x\n```", 0),
    ("```python\n    return 2 * x\n```", 1), ("<think>\n```python\n```</think>    return 2*x", 1)])
def test_a_function_passes_when_its_check_comes_to_its_end(text, r):
    assert grade_function(text, Problem(HEADER, "", check=CHECK)) == r


def test_a_program_that_cannot_be_run_stops_the_run(monkeypatch):
    monkeypatch.setattr(verify, "run_tests", lambda *_: Verdict("unsupported", "no limits", 1))
    with pytest.raises(UserError, match="no limits"):
        grade_program("print(3)", Problem("", "", tests=[("", "3")]))


# ---- the real files, where they are -------------------------------------------------------------
DATA = os.environ.get("ALD_DATA", os.path.join(os.path.dirname(tasks.__file__), "../shared/data"))
here = pytest.mark.skipif(not os.path.isdir(DATA), reason="the problems' files are not here")


@here
@pytest.mark.parametrize("name, train, test", [
    ("math500", 7497, 500), ("gsm8k", 7473, 1319), ("aime2024", 7497, 30), ("aime2025", 7497, 30),
    ("humaneval", 374, 164), ("mbpp", 374, 500), ("code_contests", 30, 30)])
def test_real_files_are_read_whole_and_share_no_text(name, train, test):
    task = TASKS[name](Source(DATA, "", 10**6, 10**6))
    assert (len(task.train), len(task.test)) == (train, test)
    seen = {" ".join(p.question.lower().split()) for p in task.train}
    assert not any(" ".join(p.question.lower().split()) in seen for p in task.test)


@here
@pytest.mark.parametrize("name, step", [("humaneval", 8), ("mbpp", 40)])      # ours: all pass
def test_a_functions_own_solution_passes_and_anothers_does_not(name, step):
    task = TASKS[name](Source(DATA, "", 10**6, 10**6))
    some = (task.train + task.test)[::step]
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda p: task.grade(p.answer, p, False), some))
        assert not any(pool.map(lambda p, q: task.grade(q.answer, p, False), some, some[1:]))


@here
def test_mbpp_is_asked_as_in_its_paper_and_its_setup_runs_behind_the_code():
    with open(os.path.join(DATA, "mbpp.jsonl"), encoding="utf-8") as file:
        problems = [tasks.mbpp_problem(json.loads(line)) for line in file]
    assert [problems[i].part for i in (0, 9, 10, 509, 510, 599, 600, 973)] == [
        "few-shot", "few-shot", "test", "test", "validation", "validation", "train", "train"]
    question = problems[10].question
    assert question.startswith("You are an expert Python programmer, and here is your task: Write")
    assert all(f"\n{test}" in question for test in problems[10].check.strip().split("\n"))
    assert problems[600].entry_point == "max_chain_length" and "\r" not in problems[0].answer
    assert all(grade_function(p.answer, p) for p in (problems[366], problems[926]))


def test_the_program_shows_every_style_and_its_grades(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demos.prompts"])
    prompts.main()
    out = capsys.readouterr().out
    grades = [[float(x) for x in re.findall(r"' ([01])", line)] for line in out.splitlines()]
    assert [x for x in grades if x] == [[1, 0, 0]] * 2 + [[1, 0, 1]] * 3     # sums want a mark


def test_an_empty_box_leaves_the_problem_out_and_no_box_is_a_bad_line():
    row = {"problem": "Draw it.", "level": "Level 1"}
    assert math_problem(row | {"solution": r"As drawn: \boxed{ }."}) is None
    assert math_problem(row | {"answer": "", "solution": r"First \boxed{3}, so \boxed{}."}) is None
    with pytest.raises(ValueError, match="neither an answer nor a boxed one"):
        math_problem(row | {"solution": "No box."})

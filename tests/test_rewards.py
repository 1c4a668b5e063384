"""Rewards: given while the LM decodes, each to its own episode."""
import threading

import pytest
import torch

from utils.errors import UserError
from decode import Strategy, static
from experiment.reward_table import collect
from tasks import TASKS, Task
from utils.problem_files import Source

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

"""Tasks: splits that share nothing, bad lines named, the world of the embedded LM."""
import itertools
import json

import pytest

import tiny
from cli import UserError
from tasks import TASKS, Problem, Source, split
from verify import extract_answer


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
        assert task.grade(f"#{p.answer}", p) == 1 and task.grade(f"#{p.answer}0", p) == 0
        assert task.grade(f"2+{p.answer}={p.answer}", p) == task.grade("", p) == 0   # no mark yet


def test_the_training_traces_follow_the_world_and_the_tokenizer_keeps_them(lm):
    given_up = carries = early = forks = 0
    called = []
    for prompt, completion in itertools.islice(tiny.traces(0), 2000):
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
    assert len(called) / 2000 == pytest.approx(tiny.CALLED, abs=0.03) and max(called) == 1
    assert given_up / carries == pytest.approx(tiny.DOUBT, abs=0.05)
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
    with pytest.raises(UserError, match="no UTF-8"):
        TASKS["gsm8k"](Source(str(path), "", 5, 5))
    path.write_text("")
    with pytest.raises(UserError, match="holds no problem"):
        TASKS["gsm8k"](Source(str(path), "", 5, 5))
    with pytest.raises(UserError, match="cannot read"):
        TASKS["gsm8k"](Source(str(tmp_path / "missing.jsonl"), "", 5, 5))


def test_split_keeps_the_same_text_on_one_side_and_the_test_part_for_any_training_size():
    problems = [Problem(f"q{i % 30}", str(i)) for i in range(60)]
    train, test = split(problems, None, 100, 10)
    assert len(test) == 10 and len(train) == 20
    assert not {p.question for p in train} & {p.question for p in test}
    assert split(problems, None, 5, 10)[1] == test
    with pytest.raises(UserError):
        split(problems[:1], None, 1, 1)


def test_the_yardstick_is_hot_at_forks_when_the_whole_work_does_not_fit(lm):
    import torch
    from decode import GREEDY, State
    rows = torch.arange(3)
    logits = torch.zeros(3, 24)
    logits[:, lm.encode(";")[0]], logits[:, lm.encode("#")[0]] = 2.0, 1.5
    logits[2, lm.encode("7")[0]] = 5.0                                       # no fork
    policy = tiny.yardstick(lm, ["7+8+5:", "7+8+5:", "7+8+5:"], torch.tensor([40, 12, 12]))
    state = State(rows, logits, None, None, None, None)
    chosen = policy(state).strategies
    assert tiny.work_length("7+8+5:") == len("7+8=15;15+5=20#20")
    assert chosen[0].tolist() == list(GREEDY) == chosen[2].tolist() and chosen[1, 0] == 1.25

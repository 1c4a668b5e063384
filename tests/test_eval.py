"""Tables against numbers worked by hand, and reward tables against direct sampling."""
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import baselines                                                             # noqa: F401
from decode import GREEDY, Strategy, static
from conftest import ROOT
from eval import better, token_table
from experiment.config import Config
from experiment.held_out import HeldOut
from experiment.registry import BASELINES, TOKEN_ROWS
from experiment.reward_table import Arm, RewardStore, collect, sample_policy, sample_static
from experiment.selection import ActionSet, Selection, drop_uninformative
from experiment.tables import compare, make_row, make_table, show
from tasks import TASKS
from train import best_static
from utils.errors import UserError
from utils.problem_files import Problem, Source

ARMS = [Arm("cot", GREEDY), Arm("cot", Strategy(1.25, 3)), Arm("direct", Strategy(), token=True)]


@pytest.fixture(scope="module")
def task():
    return TASKS["sums"](Source("", "", 12, 12))


def test_paired_differences_are_narrower_than_the_policies_own_intervals():
    rng = np.random.default_rng(1)
    base = rng.random((1, 500))
    cell = make_row("a", {(1, 0): base + 0.1}, {(1, 0): base})["cells"]["pass@1[0]"]
    assert cell["difference_interval"] == pytest.approx((0.1, 0.1))
    assert cell["interval"][1] - cell["interval"][0] > 0.03


def test_a_table_marks_what_is_sure_brackets_what_is_not_and_leaves_out_what_is_missing():
    rng = np.random.default_rng(2)
    base = {(1, 0): rng.random((1, 500)), (1, 1): rng.random((1, 500))}
    table = make_table("Title", "", [1], {
        "better": {at: v + 0.1 + 0.01 * rng.random((1, 500)) for at, v in base.items()},
        "same": {at: v[:, ::-1] for at, v in base.items()},
        "half": {(1, 0): base[1, 0] + 0.2}, "sees": {at: v + 0.3 for at, v in base.items()},
        "base": base}, base, no_competitors=["sees"])
    lines = show(table, (16, 32)).splitlines()
    assert lines[1] == "Title. Pass@1 in %, 95 % interval"
    assert lines[4].split() == ["+10.5", "±0.0*", "+10.5", "±0.0*"]
    assert lines[6].count("(") == 2 and lines[6].count("*") == 0
    assert lines[7].split()[0] == "half" and len(lines[7].split()) == 3
    assert lines[9].startswith("sees °") and "*" not in lines[10]
    assert lines[11].startswith("base") and len(lines) == 12       # no difference to itself
    adjusted = [c for r in table["rows"] for c in r["cells"].values() if "holm" in c]
    assert len(adjusted) == 5 and all(c["holm"] >= c["p"] for c in adjusted)


def test_the_better_policy_is_named_column_by_column():
    a = {(1, 0): np.array([[1, 0, 0]]), (8, 0): np.array([[1, 1, 0]])}
    b = {(1, 0): np.array([[0, 1, 1]]), (8, 0): np.array([[0, 1, 0]])}
    assert better(a, b)[1, 0] is b[1, 0] and better(a, b)[8, 0] is a[8, 0]


def test_best_static_is_the_best_arm_on_average_of_each_parallel_and_token_budget():
    table = np.zeros((2, 2, 2, 2), dtype=np.uint8)                               # (P, S, n, T)
    table[0, 0] = 1                              # arm 0: always right on problem 0
    table[:, 1, 0, 1] = 1                        # arm 1, second budget: right once on each problem
    assert best_static(ARMS[:2], table) == [[ARMS[0], ARMS[0]], [ARMS[0], ARMS[1]]]


def test_a_selection_is_the_same_after_json_and_a_damaged_one_is_refused():
    best = [ARMS[:2], ARMS[1:]]
    selection = Selection(9, [.5, .6], [.5, .5], ARMS[:2], best, ARMS[2:], .1, .2, .3)
    told = json.loads(json.dumps(selection.to_json()))
    assert Selection.from_json(told) == selection
    assert told["names"] == [str(arm) for arm in ARMS[:2]]
    assert told.pop("bound") == .3
    with pytest.raises(KeyError, match="bound"):
        Selection.from_json(told)


def test_filtered_problems_leave_the_table_the_embeddings_and_the_list():
    problems = [Problem(str(i), "") for i in range(3)]
    table, e = np.arange(3)[:, None, None, None], torch.arange(3.0)[:, None]
    s = ActionSet("cot", None, table, problems, e)
    drop_uninformative(s, np.array([True, False, True]))
    assert s.table.ravel().tolist() == s.e.ravel().tolist() == [0, 2]
    assert s.problems == [problems[0], problems[2]]
    with pytest.raises(UserError, match="would leave none"):
        drop_uninformative(s, np.array([False, False]))


def test_every_row_of_the_token_table_is_compared_with_best_static_and_no_baseline(monkeypatch):
    """The published methods are called baselines as well: the table must not take one of them."""
    rng = np.random.default_rng(4)

    def cells(*_):
        return {(1, 0): rng.random((1, 50))}

    for name, baseline in BASELINES.items():
        monkeypatch.setitem(BASELINES, name, baseline._replace(cells=cells))
    for name in ("arm", "best_static", "mixed_static", "token", "scripted_oracle", "optimum"):
        monkeypatch.setattr(HeldOut, name, cells)
    monkeypatch.setattr(HeldOut, "sets", {"cot": SimpleNamespace(arms=ARMS, best_of_all=ARMS)})
    run = SimpleNamespace(config=Config(baselines=True),
                          task=SimpleNamespace(scripted_oracle=cells))
    rows = token_table(HeldOut(run, {}, None, [1], None))["rows"]
    assert {"EDT", "AutoDeco-like", *TOKEN_ROWS.values()} < {row["name"] for row in rows}
    for row in rows:
        compared = "difference" in row["cells"]["pass@1[0]"]
        assert compared == (row["name"] != "best static"), row["name"]
        assert row["competitor"] == (row["name"] not in ("scripted oracle",
                                                         "optimum, knows the answer"))


def test_a_run_is_held_to_another_ones_intervals_and_the_row_is_named(tmp_path):
    base = {(1, 0): np.random.default_rng(3).random((1, 200))}
    for name, shift, own in (("a", 0.0, "arm: one"), ("b", 0.01, "arm: another"),
                             ("c", 0.2, "arm: one"), ("d", 0.0, "more")):
        (tmp_path / name).mkdir()
        rows = {"row": {(1, 0): base[1, 0] + shift}, "other": base, own: base}
        (tmp_path / name / "results.json").write_text(json.dumps(
            {"about": {"budgets": [18], "problems": 200, "samples": 1, "seeds": 1,
                       "styles": []},
             "tables": [make_table("T", "", [1], rows, base)]}))
    assert "all 2 cells" in compare(tmp_path / "b", tmp_path / "a" / "results.json")
    with pytest.raises(UserError, match=r"1 of 3 rows .*: T: row \(1 of 1 cells: pass@1\[0\] is"):
        compare(tmp_path / "c", tmp_path / "a" / "results.json")
    with pytest.raises(UserError, match=r"1 of 3 rows .*: T: more \(.*missing"):
        compare(tmp_path / "a", tmp_path / "d" / "results.json")


@pytest.mark.parametrize("strategy", [GREEDY, Strategy(1.25, 3, 0.95, 0.03)])
def test_rewards_of_prefixes_equal_sampling_at_each_budget(lm, task, strategy):
    once = sample_static(lm, task, task.test, Arm("cot", strategy), 3, 5, 64)
    policy = static(torch.tensor(strategy).repeat(len(task.test) * 3, 1))
    prompts = [task.prompt(p, "cot") for p in task.test]
    each = sample_policy(lm, task, task.test, lambda t, part: (prompts[part], policy), 3, 5, 64)
    assert np.array_equal(once, each) and 0 < once.mean() < 1


def test_rewards_are_what_the_verifier_says_of_the_text(lm, task):
    prompts = [task.prompt(p, "direct") for p in task.test]
    greedy = static(torch.tensor([GREEDY] * 12))
    episodes = collect(lm, task, prompts, greedy, torch.full((12,), 52), 1, 0, 64)
    by_hand = [float(lm.text(x.tokens) == f"#{p.answer}") for x, p in zip(episodes, task.test)]
    table = sample_static(lm, task, task.test, Arm("direct", GREEDY), 1, 0, 64)
    assert table[:, 0, -1].tolist() == by_hand


def test_a_reward_table_on_disk_is_not_sampled_again(tmp_path):
    path = str(tmp_path / "rewards.npz")
    table = RewardStore(path)
    table.get("a", lambda: np.arange(6).reshape(2, 3))
    table.flush()
    table.get("b", lambda: np.ones(2))
    table.flush(seconds=60)                                  # the last time was just now
    assert RewardStore(path).arrays.keys() == {"a"}
    table.flush()
    assert RewardStore(path).arrays.keys() == {"a", "b"}
    again = RewardStore(path)
    assert np.array_equal(again.get("a", lambda: 1 / 0), np.arange(6).reshape(2, 3))
    for damaged in (b"", open(path, "rb").read()[:100]):
        (tmp_path / "rewards.npz").write_bytes(damaged)
        with pytest.raises(UserError, match="cannot read"):
            RewardStore(path)


@pytest.mark.parametrize("program", ["eval", "train", "demos.replay"])
def test_a_program_alone_knows_the_published_baselines(program):
    """In an interpreter of its own: here they are registered already."""
    code = (f"import {program}, experiment.registry as r\n"
            "print(*r.BANDITS, *r.BASELINES, *r.ADAPTERS)")
    names = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, check=True,
                           capture_output=True).stdout.split()
    assert {"lpo", "edt", "autodeco"} <= set(names)

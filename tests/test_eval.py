"""Statistics against simulation, and reward tables against direct sampling."""
import numpy as np
import pytest
import torch

from bandit import Arm
from cli import UserError
from decode import GREEDY, Strategy, static
from eval import better, interval, make_row, show
from rewards import Rewards, play, sample_policy, sample_static
from data import Source
from tasks import TASKS


@pytest.fixture(scope="module")
def task():
    return TASKS["sums"](Source("", "", 12, 12))


def test_interval_covers_the_true_mean_95_percent_of_the_time():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(600):
        low, high = interval((rng.random((1, 200)) < 0.3).astype(float), draws=400)
        inside += low <= 0.3 <= high
    assert 0.92 < inside / 600 < 0.975


def test_interval_counts_the_spread_over_seeds_too():
    by_seed = np.array([[0.2], [0.5], [0.8]]).repeat(300, 1)
    low, high = interval(by_seed)
    assert high - low > 0.4                                    # problems alone would give 0


def test_paired_differences_are_narrower_than_the_policies_own_intervals():
    rng = np.random.default_rng(1)
    base = rng.random((1, 500))
    cell = make_row("a", {(1, 0): base + 0.1}, {(1, 0): base})["cells"]["pass@1[0]"]
    assert cell["difference_interval"] == pytest.approx((0.1, 0.1))
    assert cell["interval"][1] - cell["interval"][0] > 0.03
    assert "+10.0 ±0.0" in show([make_row("a", {(1, 0): base + 0.1}, {(1, 0): base})], (16,), [1])
    assert "(+0.0 ±" in show([make_row("a", {(1, 0): base[:, ::-1]}, {(1, 0): base})], (16,), [1])


def test_the_better_policy_is_named_column_by_column():
    a = {(1, 0): np.array([[1, 0, 0]]), (8, 0): np.array([[1, 1, 0]])}
    b = {(1, 0): np.array([[0, 1, 1]]), (8, 0): np.array([[0, 1, 0]])}
    assert better(a, b)[1, 0] is b[1, 0] and better(a, b)[8, 0] is a[8, 0]


@pytest.mark.parametrize("strategy", [GREEDY, Strategy(1.25, 3, 0.95, 0.03)])
def test_rewards_of_prefixes_equal_sampling_at_each_budget(lm, task, strategy):
    once = sample_static(lm, task, task.test, Arm("work", strategy), 3, 5, 64)
    policy = static(torch.tensor(strategy).repeat(len(task.test) * 3, 1))
    prompts = [task.prompt(p, "work") for p in task.test]
    each = sample_policy(lm, task, task.test, lambda t, budgets: (prompts, policy), 3, 5, 64)
    assert np.array_equal(once, each) and 0 < once.mean() < 1


def test_rewards_are_what_the_verifier_says_of_the_text(lm, task):
    prompts = [task.prompt(p, "once") for p in task.test]
    episodes = play(lm, task, prompts, static(torch.tensor([GREEDY] * 12)), torch.full((12,), 52),
                    1, 0, 64)
    by_hand = [float(lm.text(x.tokens) == f"#{p.answer}") for x, p in zip(episodes, task.test)]
    table = sample_static(lm, task, task.test, Arm("once", GREEDY), 1, 0, 64)
    assert table[:, 0, -1].tolist() == by_hand


def test_a_reward_table_on_disk_is_not_sampled_again(tmp_path):
    path = str(tmp_path / "rewards.npz")
    table = Rewards(path)
    table.get("a", lambda: np.arange(6).reshape(2, 3))
    table.flush()
    again = Rewards(path)
    assert np.array_equal(again.get("a", lambda: 1 / 0), np.arange(6).reshape(2, 3))
    for damaged in (b"", open(path, "rb").read()[:100]):
        (tmp_path / "rewards.npz").write_bytes(damaged)
        with pytest.raises(UserError, match="cannot read"):
            Rewards(path)

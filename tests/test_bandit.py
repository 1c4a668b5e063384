"""The bandits against hand-worked numbers and made problems with a known best arm."""
import itertools
import json
import warnings

import numpy as np
import pytest
import torch

from bandit import (LinUCB, SoftmaxBandit, bandit_problem, coin_tosses, coverage, expected_rewards,
                    informative, pass_at, reinforce_loss, top_by_average, train_linucb,
                    train_softmax)
from decode import strategy_pool
from demos.regret import regrets
from features import context


def test_the_pool_holds_180_different_strategies_and_greedy():
    assert len(set(strategy_pool())) == 180
    assert sum(s.temperature == 0 for s in strategy_pool()) == 1


@pytest.mark.assignment_9
@pytest.mark.parametrize("n, right, B", [(5, 2, 1), (5, 2, 3), (6, 0, 2), (4, 4, 4), (8, 1, 8)])
def test_pass_at_equals_enumeration(n, right, B):
    rewards = np.array([1] * right + [0] * (n - right))
    every = [any(c) for c in itertools.combinations(rewards, B)]
    assert pass_at(rewards, B) == pytest.approx(np.mean(every), abs=1e-12)


def test_pass_at_refuses_more_than_it_has():
    with pytest.raises(ValueError):
        pass_at(np.ones(4), 5)


@pytest.mark.assignment_9
def test_expected_rewards_keep_problem_budgets_and_arm_apart():
    table = np.zeros((2, 3, 4, 5))                       # prompts, arms, samples, token budgets
    table[1, 2, :, 4] = 1
    table[0, 1, 0, 3] = 1
    rewards, index = expected_rewards(table, (1, 2))
    values = rewards.reshape(2, 2, 5, 3)
    assert (values[1, :, 4, 2] == 1).all() and values.sum() == 2 + 0.25 + 0.5
    assert values[0, 0, 3, 1] == 0.25 and values[0, 1, 3, 1] == 0.5
    rows = {tuple(row): i for i, row in enumerate(index.tolist())}
    assert list(rows) == list(itertools.product((0, 1), (1, 2), range(5)))
    assert rewards[rows[0, 2, 3], 1] == 0.5 and rewards[rows[1, 1, 4], 2] == 1


def test_contexts_and_expected_rewards_of_a_bandit_problem_stand_in_the_same_rows():
    rng = np.random.default_rng(1)
    table = (rng.random((3, 2, 4, 2)) < 0.5).astype(np.uint8)
    e = torch.randn(3, 8)
    x, reward = bandit_problem(e, table, (16, 32))
    assert len(x) == len(reward) == 3 * 3 * 2                        # B of 1, 2 and 4, not of 8
    for row, (p, B, t) in enumerate(itertools.product(range(3), (1, 2, 4), range(2))):
        alone = context(e[p:p + 1], torch.tensor([B]), torch.tensor([(16, 32)[t]]), 32)
        assert torch.allclose(x[row], alone[0])
        assert reward[row].tolist() == pytest.approx(pass_at(table[p, :, :, t], B).tolist())
    blind = bandit_problem(e, table, (16, 32), ("prompt",))[0]
    assert blind.shape == (18, 8) and torch.equal(blind[0], blind[5])


def test_pulls_toss_coins_of_the_expected_rewards():
    reward = torch.tensor([[0.0, 0.3], [1.0, 0.8]])
    rows, actions = torch.arange(2).repeat_interleave(2).repeat(5000), torch.arange(2).repeat(10000)
    pulled = coin_tosses(reward)(rows, actions, torch.Generator().manual_seed(0))
    assert pulled.unique().tolist() == [0, 1]
    assert torch.allclose(pulled.view(-1, 4).mean(0), reward.flatten(), atol=0.03)


@pytest.mark.assignment_6
def test_coverage_finds_complements_that_averages_miss():
    values = np.array([[.9, .8, 0], [.9, .8, 0], [.9, .8, 0], [0, 0, 1]])
    assert coverage(values, 2)[0] == [0, 2] and top_by_average(values, 2)[0] == [0, 1]
    assert coverage(values, 2)[1][1] == pytest.approx((2.7 + 1) / 4)
    assert coverage(values, 9)[0] == [0, 2, 1]               # each once, though 1 adds nothing


@pytest.mark.assignment_6
def test_every_step_of_coverage_is_the_best_one():
    values = np.random.default_rng(0).random((30, 8)) ** 4
    chosen, curve = coverage(values, 6)
    for i, best in enumerate(curve):
        F = [values[:, chosen[:i] + [s]].max(1).mean() for s in range(8)]
        assert best == pytest.approx(max(F)) and F[chosen[i]] == max(F)


def test_the_filter_leaves_out_constant_and_noise():
    rng = np.random.default_rng(0)
    noise = (rng.random((400, 4, 8)) < 0.5).astype(float)
    clear = np.zeros((400, 4, 8))
    clear[:, 0] = 1
    kept, constant, noisy = informative(np.concatenate([noise, clear, np.ones((200, 4, 8))]))
    assert constant == 0.2 and kept[400:800].all() and not kept[800:].any()
    assert 0.15 < noisy < 0.35                           # about half of the pure noise, by chance
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, constant, noisy = informative(np.array([[[0, 1]], [[1, 1]]]))    # a single arm
    assert constant == 0.5 and noisy == 0


@pytest.mark.assignment_4
def test_reinforce_gradient_equals_the_hand_computed_one():
    torch.manual_seed(0)
    bandit, x = SoftmaxBandit(3, 2), torch.randn(1, 3)
    torch.nn.init.normal_(bandit.actor[-1].bias)
    torch.nn.init.constant_(bandit.critic[-1].bias, 0.2)                       # b(x), whatever x
    taken = []
    loss, *_ = reinforce_loss(bandit, x, lambda a, _: taken.append(int(a)) or torch.ones(1),
                              torch.Generator().manual_seed(0), 0.1)
    loss.backward()
    p = bandit(x).exp().detach()[0]
    H = -(p * p.log()).sum()
    onehot = torch.eye(2)[taken[0]]
    by_hand = -(1 - 0.2) * (onehot - p) + 0.1 * p * (p.log() + H)   # d/dz of -(r-b) log pi - c H
    assert torch.allclose(bandit.actor[-1].bias.grad, by_hand, atol=1e-6)
    assert bandit.critic[-1].bias.grad.item() == pytest.approx(-1.6)           # d/db of (b - r)^2


@pytest.mark.assignment_4
def test_actions_are_drawn_from_the_policy_and_means_are_over_rows():
    torch.manual_seed(1)
    bandit, x, taken = SoftmaxBandit(3, 4), torch.randn(1, 3).repeat(4000, 1), []
    torch.nn.init.normal_(bandit.actor[-1].bias)
    _, reward, entropy = reinforce_loss(bandit, x, lambda a, _: taken.append(a) or (a == 2).float(),
                                        torch.Generator().manual_seed(0), 0.1)
    p = bandit(x[:1]).exp().detach()[0]
    share = taken[0].bincount(minlength=4) / 4000
    assert ((share - p).abs() < 4 * (p * (1 - p) / 4000).sqrt()).all()
    assert reward == pytest.approx(share[2].item())
    assert entropy == pytest.approx(-(p * p.log()).sum().item(), abs=1e-5)


@pytest.mark.assignment_5
def test_linucb_equals_a_hand_worked_example():
    bandit = LinUCB(2, 2, alpha=0.5)
    bandit.update(torch.tensor([1.0, 0.0]), 0, 1.0)      # A_0 = diag(2, 1), b_0 = (1, 0)
    bandit.update(torch.tensor([1.0, 1.0]), 0, 0.0)      # A_0 = [[3, 1], [1, 2]], b_0 = (1, 0)
    assert torch.allclose(bandit.inverse[0], torch.tensor([[2., -1.], [-1., 3.]]).double() / 5)
    x = torch.tensor([[1.0, 0.0]])
    mean, width = bandit(x), bandit.width(x)
    assert mean[0].tolist() == pytest.approx([0.4, 0.0])              # theta_0 = (2/5, -1/5)
    assert width[0].tolist() == pytest.approx([0.5 * 0.4 ** 0.5, 0.5])
    assert bandit.choose(x).item() == 0                               # .4 + .32 against 0 + .5
    bandit.alpha = 2.0
    assert bandit.choose(x).item() == 1                               # .4 + 1.26 against 0 + 2


def made_problem():
    """Three kinds of context, in each another best arm (.9 against .3)."""
    kind = torch.arange(300) % 3
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    x = torch.cat([torch.eye(3)[kind], noise], 1)
    mean = 0.3 + 0.6 * torch.eye(3)[kind]                                            # (300, arms)

    def pull(rows, actions, generator):
        return (torch.rand(len(rows), generator=generator) < mean[rows, actions]).float()

    return x, mean, pull


@pytest.mark.parametrize("trainer", [train_softmax, train_linucb])
def test_both_bandits_find_the_best_arm_of_a_known_problem(trainer):
    x, mean, pull = made_problem()
    bandit = trainer(x, pull, 3)
    chosen = bandit(x).exp() if trainer is train_softmax else torch.eye(3)[bandit(x).argmax(1)]
    uniform = (mean.max(1).values - mean.mean(1)).mean()
    regret = (mean.max(1).values - (chosen * mean).sum(1)).mean()
    assert regret < 0.05 * uniform


def test_both_bandits_lose_less_and_less_where_fixed_choices_go_on_losing():
    lines = regrets()
    last = {name: line[-1] - line[-1000] for name, line in lines.items()}
    assert lines["one arm"][-1] < lines["uniform"][-1]
    for name in ("softmax", "LinUCB"):
        assert (np.diff(lines[name]) >= 0).all() and lines[name][-1] < 0.5 * lines["one arm"][-1]
        assert last[name] < 0.5 * last["one arm"]


# ---- what a student's code may get wrong --------------------------------------------------------
@pytest.mark.assignment_4
def test_the_gradient_of_five_rows_is_the_mean_of_one_row_at_a_time():
    torch.manual_seed(2)
    bandit, x = SoftmaxBandit(3, 4), torch.randn(5, 3)
    for net in (bandit.actor, bandit.critic):
        torch.nn.init.normal_(net[-1].weight)
    r, taken, before = torch.tensor([1.0, 0, 1, 1, 0]), [], torch.get_rng_state()
    loss, *_ = reinforce_loss(bandit, x, lambda a, _: taken.append(a) or r,
                              torch.Generator().manual_seed(0), 0.1)
    assert loss.shape == () and torch.equal(torch.get_rng_state(), before)
    each = 0
    for i in range(5):                                             # nothing here can broadcast
        logp, b = bandit(x[i:i + 1])[0], bandit.critic(x[i:i + 1])[0, 0]
        each += ((b - r[i]) ** 2 - (r[i] - b.detach()) * logp[taken[0][i]]
                 + 0.1 * (logp.exp() * logp).sum()) / 5
    parameters = list(bandit.parameters())
    for a, b in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(each, parameters)):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.assignment_5
def test_linucb_after_six_rewards_is_ridge_regression_and_each_row_has_its_own_width():
    torch.manual_seed(0)
    bandit, x, y = LinUCB(3, 2, alpha=0.5), torch.randn(6, 3), torch.randn(4, 3).double()
    arm, reward = torch.tensor([0, 1, 1, 0, 1, 0]), torch.tensor([0.5, 1, 0, 0.25, 1, 1])
    for row, s, r in zip(x, arm, reward):
        bandit.update(row, int(s), float(r))
    for s in range(2):
        own = x[arm == s].double()
        inverse = (torch.eye(3) + own.T @ own).inverse()
        width = torch.stack([0.5 * (v @ inverse @ v).sqrt() for v in y])
        assert torch.allclose(bandit.width(y)[:, s], width)
        assert torch.allclose(bandit.b[s], reward[arm == s].double() @ own)


@pytest.mark.assignment_6
def test_coverage_takes_the_first_of_equal_columns_and_keeps_what_it_has():
    assert coverage(np.array([[0.5, 0.5, 1], [0.5, 0.5, 0]]), 2)[0] == [0, 2]
    chosen, F = coverage(np.array([[0.9, 0.8, 0], [0, 0, 1]]), 3)
    assert F == pytest.approx([0.5, 0.95, 0.95])
    json.dumps([chosen, F])                                        # selection.json holds both

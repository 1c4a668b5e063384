"""GAE and PPO against hand-worked numbers, and the contract of the stored log-probability."""
import math
from functools import partial

import pytest
import torch

from bandit import mlp
from decode import GREEDY, rollout, static
from demos import ppo_toy as toy
from pomdp import (DECISION_P_MAX, TEMPERATURES, TokenPolicy, explained_variance, flatten, gae,
                   ppo_loss, ppo_update, reinforce_update)
from utils.random_streams import prompt_key


@pytest.mark.assignment_7
def test_gae_equals_a_hand_worked_example():
    values, rewards, lam = torch.tensor([.5, .2, .4, .1]), torch.tensor([1., 0.]), 0.5
    # episode 1: deltas -.3, .2, .6;  A_3 = .6, A_2 = .2 + .3 = .5, A_1 = -.3 + .25 = -.05
    assert gae(values, [3, 1], rewards, lam).tolist() == pytest.approx([-.05, .5, .6, -.1])


@pytest.mark.assignment_7
def test_gae_at_lambda_one_is_return_minus_value_and_at_zero_is_delta():
    V, r = torch.rand(7), torch.tensor([1., 0.])
    assert torch.allclose(gae(V, [4, 3], r, 1.0), r.repeat_interleave(torch.tensor([4, 3])) - V)
    following = torch.tensor([V[1], V[2], V[3], 1., V[5], V[6], 0.])
    assert torch.allclose(gae(V, [4, 3], r, 0.0), following - V)


def policy_and_episodes(lm, n=4):
    torch.manual_seed(1)
    policy = TokenPolicy(lm.d, 40)
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.3)
    prompts = ["7+8+5+9:", "12+13+14+15+16+17:", "3+4+5:"]
    episodes = rollout(lm, [lm.encode(p) for p in prompts], partial(policy, explore=True),
                       torch.tensor([40, 30, 20]).repeat_interleave(n),
                       torch.tensor([prompt_key(p) for p in prompts]), n=n)
    return policy, episodes


def test_stored_log_probability_equals_the_recomputed_one(lm):
    policy, episodes = policy_and_episodes(lm)
    obs, action, logp, lengths, rewards = flatten(policy, episodes)
    again = policy.actor(obs).log_softmax(-1).gather(1, action[:, None]).squeeze(1)
    assert lengths.sum() == len(action) and len(lengths) == len(rewards) == len(episodes)
    assert len(action) > 20 and (again - logp).abs().max() < 1e-5


def test_tokens_with_p_max_above_the_bound_are_no_decisions_and_the_end_can_be_one(lm):
    _, episodes = policy_and_episodes(lm)
    for x in episodes:
        assert (x.distribution[:, 1] <= DECISION_P_MAX).all()
        assert 0 < len(x.decision_steps) < len(x.tokens)
        sure = torch.ones(len(x.tokens), dtype=torch.bool)
        sure[x.decision_steps] = False
        assert (x.action[sure] == 0).all()
        assert (x.tokens_left == x.budget - x.decision_steps).all()


def test_an_untrained_action_set_of_greedy_alone_is_greedy(lm):
    policy = TokenPolicy(lm.d, 40)                              # zero last layer: arg-max action 0
    ids, keys = [lm.encode("7+8+5+9:")], torch.zeros(1, dtype=torch.long)
    a = rollout(lm, ids, policy, torch.tensor([40]), keys)
    b = rollout(lm, ids, static(torch.tensor([GREEDY])), torch.tensor([40]), keys)
    assert torch.equal(a[0].tokens, b[0].tokens)


def test_top_k_holds_under_every_temperature(lm):
    ids, keys = [lm.encode("12+13+14+15+16+17:")], torch.tensor([0])
    greedy, = rollout(lm, ids, static(torch.tensor([GREEDY])), torch.tensor([40]), keys)
    differ = {}
    for top_k in (1, 0):
        policy = TokenPolicy(lm.d, 40, top_k=top_k)
        policy.actor[-1].bias.data[3] = 9                            # tau = 1.25 at every decision
        episodes = rollout(lm, ids, policy, torch.full((8,), 40), keys, n=8)
        assert all((x.action[x.decision_steps] == 3).all() for x in episodes)
        differ[top_k] = sum(not torch.equal(x.tokens, greedy.tokens) for x in episodes)
    assert differ[1] == 0 and differ[0] > 4


def test_explored_actions_follow_the_policy(lm):
    policy = TokenPolicy(lm.d, 40)
    with torch.no_grad():
        policy.actor[-1].bias.copy_(torch.tensor([.1, .2, .3, .4]).log())
    ids = [lm.encode("7+8+5+9+12+4+11:")]
    episodes = rollout(lm, ids, partial(policy, explore=True), torch.full((1500,), 24),
                       torch.zeros(1, dtype=torch.long), n=1500)
    action = torch.cat([x.action[x.decision_steps] for x in episodes]).long()
    share = action.bincount(minlength=4) / len(action)
    assert (share - torch.tensor([.1, .2, .3, .4])).abs().max() < 0.03


@pytest.mark.assignment_8
def test_ppo_gradient_equals_policy_gradient_before_the_first_update():
    """At rho = 1 the clipped surrogate's gradient is that of A log pi."""
    torch.manual_seed(0)
    policy = TokenPolicy(4, 10, ("distribution",))
    obs, action = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    advantage = torch.randn(6)
    logp = policy.actor(obs).log_softmax(-1).gather(1, action[:, None]).squeeze(1)
    (-(advantage * logp).mean()).backward()
    by_hand = policy.actor[-1].bias.grad.clone()
    policy.zero_grad()
    ppo_loss(policy, obs, action, logp.detach(), advantage, torch.zeros(6), 0.0)[0].backward()
    assert torch.allclose(policy.actor[-1].bias.grad, by_hand, atol=1e-6)


@pytest.mark.assignment_8
def test_entropy_and_value_gradients_equal_the_hand_computed_ones():
    torch.manual_seed(0)
    policy = TokenPolicy(4, 10, ("distribution",))
    torch.nn.init.normal_(policy.actor[-1].bias)
    obs, action, zero = torch.zeros(1, 4), torch.tensor([1]), torch.zeros(1)
    logp = policy.actor(obs).log_softmax(-1)
    ppo_loss(policy, obs, action, logp[:, 1].detach(), zero, torch.ones(1), 0.1)[0].backward()
    p = logp.exp().detach()[0]
    H = -(p * p.log()).sum()
    assert torch.allclose(policy.actor[-1].bias.grad, 0.1 * p * (p.log() + H), atol=1e-6)
    assert policy.critic[-1].bias.grad.item() == pytest.approx(-1)             # V = 0, target 1


@pytest.mark.assignment_8
@pytest.mark.parametrize("sign", [1, -1])
def test_the_clip_stops_the_gradient_only_where_it_should(sign):
    policy = TokenPolicy(4, 10, ("distribution",))
    obs, action = torch.zeros(1, 4), torch.tensor([1])
    old = torch.tensor([0.25 / 1.5]).log()                                  # rho = 1.5 > 1 + eps
    advantage = torch.tensor([float(sign)])
    ppo_loss(policy, obs, action, old, advantage, torch.zeros(1), 0.0)[0].backward()
    moved = policy.actor[-1].bias.grad.abs().sum() > 0
    assert moved == (sign < 0)


@pytest.mark.assignment_8
def test_a_minibatchs_loss_and_diagnostics_are_means_over_its_decisions():
    torch.manual_seed(0)
    policy = TokenPolicy(4, 10, ("distribution",))
    torch.nn.init.normal_(policy.actor[-1].weight)
    obs, action, a, target = torch.randn(7, 4), torch.arange(7) % 4, torch.randn(7), torch.rand(7)
    rho = torch.tensor([1.5, 0.6, 1.1, 0.9, 1.3, 1.0, 0.7])
    logp = policy.actor(obs).log_softmax(-1).gather(1, action[:, None]).squeeze(1).detach()
    every = (obs, action, logp - rho.log(), a, target)
    loss, log = ppo_loss(policy, *every, 0.1)
    alone = [ppo_loss(policy, *(x[i:i + 1] for x in every), 0.1) for i in range(7)]
    assert sum(one[0] for one in alone).item() / 7 == pytest.approx(loss.item(), abs=1e-6)
    for name, value in {"kl": (rho - 1 - rho.log()).mean(), "clipped": 4 / 7}.items():
        assert log[name].item() == pytest.approx(float(value), abs=1e-5)
    for name in ("entropy", "kl", "clipped"):
        mean = sum(one[1][name] for one in alone).item() / 7
        assert mean == pytest.approx(log[name].item(), abs=1e-6)
    assert not any(x.requires_grad for x in log.values())


def test_explained_variance_is_worked_by_hand_and_0_of_a_single_decision():
    returns = torch.tensor([0., 1., 0., 1.])                         # variance 1/3
    assert explained_variance(returns, returns) == pytest.approx(1)
    assert explained_variance(returns / 2, returns) == pytest.approx(1 - 0.25)
    assert explained_variance(torch.full((4,), 0.5), returns) == pytest.approx(0)
    assert explained_variance(torch.tensor([0.3]), torch.tensor([1.0])) == 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("update", [ppo_update, reinforce_update])
def test_an_iteration_with_one_decision_or_none_has_numbers_and_no_warning(update, lm):
    policy, episodes = policy_and_episodes(lm)
    optimizer = torch.optim.Adam(policy.parameters())
    one, none = episodes[:2]
    names = ("decision_steps", "logp", "h", "distribution")
    for x, count in ((one, 1), (none, 0)):
        for name in names:
            setattr(x, name, getattr(x, name)[:count])
    log = update(policy, optimizer, [one, none], seed=0, entropy_bonus=0.01)
    assert log["decisions"] == 1 and all(math.isfinite(x) for x in log.values())
    assert update(policy, optimizer, [none], seed=0, entropy_bonus=0.01) == {"decisions": 0}


def test_ppo_learns_which_temperature_pays(lm):
    """A made reward, 1 where most decisions are tau = 1.25: PPO must find it."""
    torch.manual_seed(0)
    policy = TokenPolicy(lm.d, 24)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    ids, keys = [lm.encode("7+8+5+9+12:")], torch.zeros(1, dtype=torch.long)
    for i in range(12):
        episodes = rollout(lm, ids, partial(policy, explore=True), torch.full((64,), 24), keys,
                           n=64, seed=i)
        for x in episodes:
            chosen = x.action[x.decision_steps]
            x.reward = float((chosen == 3).float().mean()) if len(chosen) else 0.0
        log = ppo_update(policy, optimizer, episodes, seed=i, entropy_bonus=0.0)
    assert log["share_tau1.25"] > 0.9


def test_mlp_has_three_layers_and_starts_at_zero():
    net = mlp(5, 7, 3)
    assert sum(isinstance(m, torch.nn.Linear) for m in net) == 3
    assert not net(torch.randn(2, 5)).any()
    assert TEMPERATURES[0] == 0


def test_the_toys_values_are_worked_by_hand_and_what_sampling_finds():
    Q, optimum = toy.exact(TEMPERATURES)
    leave = 0.25 ** 0.8 / (0.25 ** 0.8 + 0.75 ** 0.8)           # a loop's chance to answer, at 1.25
    assert Q[0, 0, 2].item() == pytest.approx(0.25) and Q[0, 2, 0] == 0
    assert Q[1, 1, 0].item() == pytest.approx(leave)              # go on, then answer
    assert Q[1, 2, 3].item() == pytest.approx(1 - (1 - leave) ** 2)
    best = torch.nn.functional.one_hot(Q.argmax(-1)).float()
    assert toy.exact(TEMPERATURES, best)[1] == pytest.approx(optimum)
    torch.manual_seed(0)
    policy = TokenPolicy(3, toy.HORIZON)
    torch.nn.init.normal_(policy.actor[-1].weight)
    with torch.no_grad():
        rewards = [x.reward for x in toy.sample_episodes(policy, 8000, 0)]
        exact = toy.exact(TEMPERATURES, toy.policy_table(policy))[1]
    assert sum(rewards) / 8000 == pytest.approx(exact, abs=0.02) and exact < 0.9 * optimum


@pytest.mark.parametrize("update, share", [(ppo_update, 0.95), (reinforce_update, 0.9)])
def test_both_learners_come_near_the_exact_optimum(update, share):
    pi, curve = toy.fit(update)
    assert share * toy.exact(TEMPERATURES)[1] < curve[-1] < toy.exact(TEMPERATURES)[1]
    assert curve[-1] > 1.3 * max(toy.exact([t])[1] for t in TEMPERATURES)
    assert curve[0] < 0.65 * curve[-1] and pi.shape == (toy.HORIZON, 3, 4)


@pytest.mark.assignment_8
@pytest.mark.parametrize("rho, A, loss", [(1.5, 1, -1.2), (1.5, -1, 1.5), (0.5, 1, -0.5),
                                          (0.5, -1, 0.8), (1.1, 1, -1.1), (0.9, -1, 0.9)])
def test_the_ratio_is_clipped_where_it_would_gain_by_leaving_and_nowhere_else(rho, A, loss):
    policy = TokenPolicy(4, 10, ("distribution",))                 # uniform: its last layer is 0
    old = torch.tensor([0.25 / rho]).log()
    got, log = ppo_loss(policy, torch.zeros(1, 4), torch.tensor([1]), old,
                        torch.tensor([float(A)]), torch.zeros(1), 0.0)
    assert got.item() == pytest.approx(loss, abs=1e-6)
    assert log["entropy"].item() == pytest.approx(math.log(4))

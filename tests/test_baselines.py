"""The baselines against gradients and optima worked by hand."""
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from baselines.autodeco import AutoDeco, fit_autodeco, read, soft_top_p, token_weights
from demos.autodeco_toy import tokens_at
from bandit import SoftmaxBandit
from batch import State
from conftest import SHORT
from utils.problem_files import Problem
from decode import Episode, Strategy, probs
from features import distribution_features
from pomdp import TokenPolicy, ppo_loss, reinforce_loss, reinforce_update
from baselines.edt import COLDEST, edt, edt_temperature
from baselines.lpo import (TOKEN_BETA, lpo_loss, lpo_update, pair_loss, right_and_wrong,
                           train_lpo, two_arms)
from experiment.adapters import load_adapter, save_adapter
from eval import transfer_makers


# ---- LPO: arms ----------------------------------------------------------------------------------
def test_the_gradient_of_a_pair_equals_one_worked_by_hand():
    logits = torch.tensor([[0.3, -0.2]], requires_grad=True)
    logp = logits.log_softmax(-1)
    lpo_loss(logp[:, 0], logp[:, 1], 0.7).sum().backward()
    # log pi_1 - log pi_2 = z_1 - z_2 = .5:  dL/dz_1 = -.7 (1 - sigmoid(.35)) = -dL/dz_2
    by_hand = -0.7 * (1 - 1 / (1 + math.exp(-0.35)))
    assert logits.grad[0].tolist() == pytest.approx([by_hand, -by_hand])


def test_two_arms_differ_and_come_as_often_as_drawing_without_putting_back_says():
    p = torch.tensor([0.6, 0.3, 0.1])
    pair = two_arms(p.log().expand(40000, 3), torch.Generator().manual_seed(0))
    assert (pair[:, 0] != pair[:, 1]).all()
    first, second = (x.bincount(minlength=3) / 40000 for x in pair.unbind(1))
    assert torch.allclose(first, p, atol=0.01)
    assert second[2].item() == pytest.approx(0.6 * 0.1 / 0.4 + 0.3 * 0.1 / 0.7, abs=0.01)


def test_lpo_finds_the_best_arm_of_each_kind_of_context():
    x = torch.eye(3).repeat(20, 1)                           # three kinds of context
    best = torch.arange(3).repeat(20)

    def pull(rows, actions, generator):
        rates = torch.where(best[rows] == actions, 0.9, 0.3)
        return (torch.rand(len(rows), generator=generator) < rates).float()

    log = []
    bandit = train_lpo(x, pull, 4, steps=300, seed=1, progress=lambda **line: log.append(line))
    assert (bandit(x).argmax(1) == best).all() and bandit(x).exp().amax(1).min() > 0.8
    assert log[-1]["reward"] > log[0]["reward"] and 0 < log[0]["pairs"] < 1
    again = train_lpo(x, pull, 4, steps=300, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(bandit.parameters(), again.parameters()))


# ---- LPO and REINFORCE: tokens ------------------------------------------------------------------
def episode(prompt: int, action: list[int], reward: float, d: int = 8) -> Episode:
    """Every token is a decision; what is seen tells nothing."""
    T = len(action)
    return Episode(prompt, 0, 20, torch.zeros(T).long(), True, torch.zeros(d), torch.tensor(action),
                   torch.arange(T), torch.zeros(T), torch.ones(T, d), torch.ones(T, 4), reward)


def learned(update, episodes, rounds: int = 20):
    """Mean probability of each action after some updates, and the last diagnostics."""
    torch.manual_seed(0)
    policy = TokenPolicy(8, 20, ("hidden", "distribution"))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for seed in range(rounds):
        log = update(policy, optimizer, episodes, seed)
    obs = policy.observation(torch.ones(1, 8), torch.zeros(1, 8), torch.ones(1, 4),
                             torch.ones(1).long())
    return policy.actor(obs).softmax(-1)[0].detach(), log


def test_lpo_prefers_the_actions_of_right_texts_to_those_of_wrong_ones_of_the_same_prompt():
    p, log = learned(lpo_update, [episode(0, [2, 2], 1.0), episode(0, [3, 3, 3], 0.0)])
    assert p[2] > 0.5 > 0.1 > p[3] and log["pairs"] == 1 and log["margin"] > 1
    assert log["share_tau1"] == pytest.approx(0.4) and log["decisions"] == 5
    for same in ([episode(0, [2, 2], 1.0), episode(0, [3], 1.0)],
                 [episode(0, [2, 2], 1.0), episode(1, [3], 0.0)]):         # of different prompts
        p, log = learned(lpo_update, same)
        assert torch.allclose(p, torch.full((4,), 0.25)) and log["pairs"] == 0


def test_lpo_weighs_texts_not_tokens():
    """At a uniform policy a pair's gradient is beta (1[wrong] - 1[right]) / 2, of any lengths."""
    policy, pairs = TokenPolicy(8, 20), torch.tensor([[0, 1]])
    for right in (1, 9):
        action = torch.tensor([1] * right + [3])
        loss, _ = pair_loss(policy, torch.ones(len(action), 34), action, torch.tensor([right, 1]),
                            pairs)
        grad = torch.autograd.grad(loss, policy.actor[-1].bias)[0]
        half = TOKEN_BETA / 2
        assert grad.tolist() == pytest.approx([0, -half, 0, half], abs=1e-5)


def test_every_right_text_is_paired_with_a_wrong_one_of_its_prompt():
    prompts, rewards = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([1., 1., 0., 0., 1., 1.])
    pairs = right_and_wrong(prompts, rewards, torch.Generator().manual_seed(0))
    assert sorted(map(tuple, pairs.tolist())) == [(0, 2), (1, 2), (4, 3)]


def test_reinforce_has_the_gradient_of_ppo_at_ratio_one_and_that_worked_by_hand():
    torch.manual_seed(3)
    policy = TokenPolicy(8, 20)
    torch.nn.init.normal_(policy.actor[-1].weight)
    obs, action, a = torch.randn(5, 8 + 8 + 18), torch.tensor([0, 3, 1, 2, 3]), torch.randn(5)
    logp = policy.actor(obs).log_softmax(-1)
    old = logp.gather(1, action[:, None]).squeeze(1).detach()
    grads = []
    for loss in (reinforce_loss(policy, obs, action, a, 0.1)[0],
                 ppo_loss(policy, obs, action, old, a, torch.zeros(5), 0.1)[0]):
        grads.append(torch.autograd.grad(loss, list(policy.actor.parameters())))
    assert all(torch.allclose(x, y, atol=1e-6) for x, y in zip(*grads))
    # Of the last bias, without a bonus: dL/dz_k = -mean A (1[a = k] - pi_k)
    loss = reinforce_loss(policy, obs, action, a, 0.0)[0]
    ours = torch.autograd.grad(loss, policy.actor[-1].bias)[0]
    hot = torch.nn.functional.one_hot(action, 4)
    assert torch.allclose(ours, -(a[:, None] * (hot - logp.exp())).mean(0), atol=1e-6)


def test_reinforce_raises_what_was_right_and_does_nothing_where_all_is_alike():
    update = lambda *x: reinforce_update(*x, entropy_bonus=0.0)                    # noqa: E731
    p, log = learned(update, [episode(0, [1, 1], 1.0), episode(1, [2, 2], 0.0)])
    assert p[1] > 0.5 > 0.1 > p[2] and log["share_tau0.5"] == 0.5
    p, _ = learned(update, [episode(0, [1, 1], 1.0), episode(1, [2, 2], 1.0)])
    assert torch.allclose(p, torch.full((4,), 0.25))


# ---- EDT ----------------------------------------------------------------------------------------
def state(logits):
    R = len(logits)
    return State(torch.arange(R), torch.ones(R).long(), logits, torch.zeros(R, 8),
                 torch.zeros(R, 8), torch.zeros(R).long(), torch.zeros(R).long(),
                 torch.zeros(R, 2, 2))


def test_edt_is_its_formula_and_greedy_where_the_lm_is_sure():
    H = torch.tensor([2.0, 0.5, 0.0])
    T = edt_temperature(H, 1.4, 0.5)
    assert T.tolist() == pytest.approx([1.4 * 0.8 ** 0.25, 1.4 * 0.8, 0.0])
    assert ((T == 0) | (T > COLDEST)).all()
    logits = torch.stack([torch.zeros(6), 40.0 * torch.arange(6)])
    choice = edt(1.0, 0.3)(state(logits))
    entropy = distribution_features(logits)[0, 0].item()
    assert choice.strategies[0].tolist() == pytest.approx([0.8 ** (0.3 / entropy), 0, 1, 0])
    p = probs(logits, choice.strategies, choice.filters)
    assert p[0].tolist() == pytest.approx([1 / 6] * 6) and p[1].tolist() == [0, 0, 0, 0, 0, 1]


# ---- AutoDeco -----------------------------------------------------------------------------------
def test_the_soft_top_p_becomes_the_samplers_as_alpha_grows():
    torch.manual_seed(5)
    logits, P = 2 * torch.randn(50, 12), 0.05 + 0.9 * torch.rand(50)
    hard = probs(logits, torch.stack([torch.tensor(Strategy(top_p=float(x))) for x in P]))
    soft = soft_top_p(logits.softmax(-1), P, 1e7)
    assert ((soft - hard).abs().amax(1) < 1e-4).float().mean() > 0.95      # but where c is at P
    P.requires_grad_()
    soft_top_p(logits.softmax(-1), P)[:, 0].sum().backward()
    assert P.grad.abs().max() > 0
    assert torch.allclose(soft_top_p(logits.softmax(-1), torch.ones(50)), logits.softmax(-1))


def test_autodeco_learns_the_temperature_that_the_tokens_were_drawn_at():
    true = torch.tensor([0.5, 1.0, 1.5]).repeat(1500)
    h, logits, target = tokens_at(true)
    heads = fit_autodeco(h, logits.__getitem__, target, torch.ones(len(true)), 300)
    T, P = heads.temperature_and_top_p(h)
    for t in (0.5, 1.0, 1.5):
        assert T[true == t].mean().item() == pytest.approx(t, abs=0.12)
    assert P.mean() > 0.9


def test_what_autodeco_reads_is_what_the_loop_saw(lm):
    texts = [("7+8+5:", "7+8=15;15+5=20#20"), ("3+4:", "3+4=7#7")]
    ids = [(lm.encode(a), lm.encode(b)[-len(b):]) for a, b in texts]
    h, logits, target = (torch.cat(x) for x in zip(*read(lm, ids, rows=1)))
    assert target.tolist() == ids[0][1] + ids[1][1] and len(h) == len(logits) == len(target)
    alone = lm.prefill([ids[1][0]])[0]
    assert torch.allclose(logits[len(ids[0][1])], alone[0, :lm.vocabulary], atol=1e-4)
    assert torch.allclose(h[len(ids[0][1])], lm.h[0], atol=1e-4)
    head = lm.model.get_output_embeddings()
    assert torch.allclose(head(h)[:, :lm.vocabulary], logits, atol=1e-4)


def test_easy_tokens_are_left_out_and_the_others_weigh_their_probability():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]]).repeat(2000, 1)
    w = token_weights(logits, torch.zeros(4000).long(), torch.Generator().manual_seed(0))
    sure = 1 / (1 + math.exp(-2))
    assert (w[::2] == 0).float().mean().item() == pytest.approx(0.6, abs=0.04)
    assert w[::2].max().item() == pytest.approx(sure)
    assert torch.allclose(w[1::2], torch.tensor(1 - sure), atol=1e-6)


def test_heads_act_as_strategies_and_are_the_same_after_saving(lm, tmp_path):
    torch.manual_seed(6)
    heads, h = AutoDeco(lm.d), torch.randn(9, lm.d)
    torch.nn.init.normal_(heads.temperature[-1].weight)
    torch.nn.init.normal_(heads.top_p[-1].weight)
    s = state(torch.randn(9, 20))
    s.h = h
    strategies = heads(s).strategies
    assert ((0 < strategies[:, 0]) & (strategies[:, 0] <= 2) & (strategies[:, 2] <= 1)).all()
    assert (strategies[:, 1] == 0).all() and strategies.std(0)[[0, 2]].min() > 0.05
    path = str(tmp_path / "heads.safetensors")
    save_adapter(path, heads.state_dict(), "autodeco", lm)
    again = load_adapter(path, lm)[0]
    assert torch.equal(again(s).strategies, strategies)
    assert isinstance(again, AutoDeco) and not isinstance(again, SoftmaxBandit)


# ---- in the run ---------------------------------------------------------------------------------
def test_a_run_has_every_baseline_and_two_trainings_each(finish, tmp_path):
    code, out, err = finish("train.py", *SHORT, "--baselines", "--seeds", "2", "--iterations", "2",
                            "--budgets", "18,30,44", "--samples", "4", "--tables", folder=tmp_path)
    assert code == 0, err
    for row in ("LPO", "softmax bandit, no budget", "EDT", "AutoDeco-like", "REINFORCE",
                "token level, entropy only", "token level, no budget", "token level, trained so"):
        assert f"\n{row} " in out, row
    assert "Transfer: trained on T = 30" in out and "one training seed" not in out
    rerun = finish("eval.py", "runs/sums", folder=tmp_path)
    assert rerun[0] == 0 and rerun[1].strip() in out


def test_filtered_problems_reach_every_learner(finish, tmp_path):
    code, out, err = finish("train.py", *SHORT, "--filter", "--pool-problems", "12", "--problems",
                            "12", "--iterations", "2", "--budgets", "24,44", folder=tmp_path)
    assert code == 0 and "left out" in out, err


def test_no_transfer_table_where_the_tested_problems_have_no_difficulties():
    """AIME has none, and is tested after training on MATH, which has."""
    cells = {(1, 0): np.ones((1, 3))}
    run = SimpleNamespace(
        task=SimpleNamespace(train=[Problem("", "", difficulty=i) for i in range(4)],
                             test=[Problem("", "")] * 3, budgets=(8, 16, 32)),
        config=SimpleNamespace(seed=0), done=lambda kind, seed: True)
    held = SimpleNamespace(run=run, sets={"cot": None}, Bs=[1], token=lambda kind: cells,
                           best_static=lambda selection: cells)
    assert [make()["title"] for make in transfer_makers(held)] == ["Transfer: trained on T = 16"]
    run.task.test[0] = Problem("", "", difficulty=3)
    assert "difficulties 0, 1, tested on the others" in transfer_makers(held)[0]()["title"]

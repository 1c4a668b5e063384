"""Trees of completions: values against hand-worked ones, samples, and the LM on each node alone."""
from functools import partial

import pytest
import torch

from demos import ceiling
from decode import Choice, Strategy, generate, static
from experiment.optimum import (ACTIONS, Tree, action_probabilities, backward_induction, grow,
                                policy_probabilities, value)
from experiment.reward_table import grade_fn
from features import distribution_features
from pomdp import DECISION_P_MAX, TEMPERATURES, TokenPolicy
from tasks import TASKS
from utils.problem_files import Source


# ---- hand-worked ---------------------------------------------------------------------------------
@pytest.fixture
def small():
    """Two problems. The first: a root 0 with the children 2 (ends, right), 3 and 4; 3 has the
    children 6 (right) and 7 (wrong). The second: a root 1 with one child 5, which ends wrongly."""
    none = torch.zeros(8, 1)
    return Tree(
        levels=[torch.tensor(x) for x in ([0, 1], [2, 3, 4, 5], [6, 7])],
        problem=torch.tensor([0, 1, 0, 0, 0, 1, 0, 0]),
        depth=torch.tensor([0, 0, 1, 1, 1, 1, 2, 2]),
        parent=torch.tensor([0, 0, 0, 0, 0, 1, 3, 3]), token=torch.zeros(8).long(),
        logits=none, h=none, e=none,
        is_end=torch.tensor([False, False, True, False, False, True, False, False]),
        reward=torch.tensor([0, 0, 1, 0.5, 0, 0, 1, 0]))


P = torch.tensor([[1, 1], [1, 1], [.2, .3], [.5, .1], [.2, .6], [.9, 1], [.8, .4], [.2, .6]])


@pytest.mark.assignment_12
def test_the_optimum_is_worked_by_hand(small):
    # T = 2: V(3) = max(.8, .4) = .8, so Q(0) = (.2 + .5 * .8, .3 + .1 * .8) = (.6, .38)
    V, Q = backward_induction(small, 2, P)
    assert V[:2].tolist() == pytest.approx([.6, 0])
    assert Q[0].tolist() == pytest.approx([.6, .38]) and Q[3].tolist() == pytest.approx([.8, .4])
    # T = 1: the completion is cut behind node 3, whose reward there is .5
    V, _ = backward_induction(small, 1, P)
    assert V[:2].tolist() == pytest.approx([.2 + .5 * .5, 0])


@pytest.mark.assignment_12
def test_a_policy_mixes_the_actions_and_what_is_cut_counts_as_told(small):
    pi = torch.tensor([[.5, .5]]).repeat(8, 1)
    V, _ = backward_induction(small, 2, P, pi)
    at_3 = .5 * .8 + .5 * .4
    assert float(V[0]) == pytest.approx(.5 * (.2 + .5 * at_3) + .5 * (.3 + .1 * at_3))
    # Node 4 has no children, and the roots' children have .9 or 1 of the probability: all of this
    # counts as 1, and the best action changes
    V, Q = backward_induction(small, 2, P, missing=1.0)
    assert Q[0].tolist() == pytest.approx([.1 + .2 + .5 * .8 + .2, .3 + .1 * .8 + .6])
    lower, more = value(small, 2, P)
    assert (lower + more).tolist() == pytest.approx(V[:2].tolist())


# ---- on the small LM -----------------------------------------------------------------------------
BUDGETS = (18, 24, 30)


@pytest.fixture(scope="module")
def sums():
    task = TASKS["sums"](Source("", "", 20, 12))
    return task, [task.prompt(p, "cot") for p in task.test]


@pytest.fixture(scope="module")
def tree(lm, sums):
    task, prompts = sums
    return grow(lm, prompts, grade_fn(lm, task, task.test, prompts), BUDGETS)


def completion_of(tree, node):
    tokens = []
    while tree.depth[node] > 0:
        tokens.append(int(tree.token[node]))
        node = int(tree.parent[node])
    return tokens[::-1]


def test_every_node_has_the_logits_h_and_reward_of_its_completion_alone(lm, sums, tree):
    task, prompts = sums
    grade = grade_fn(lm, task, task.test, prompts)
    assert tree.is_end[tree.parent].sum() == 0
    for node in range(0, len(tree.depth), 97):
        tokens = completion_of(tree, node)
        i = int(tree.problem[node])
        logits, _, _ = lm.prefill([lm.encode(prompts[i]) + tokens])
        assert torch.allclose(tree.logits[node], logits[0], atol=1e-3)
        assert torch.allclose(tree.h[node], lm.h[0], atol=1e-3)
        if tree.is_end[node] or len(tokens) in BUDGETS:
            assert tree.reward[node] == grade(i, torch.tensor(tokens))


def random_policy(lm, spread=0.5):
    torch.manual_seed(5)
    policy = TokenPolicy(lm.d, max(BUDGETS))
    torch.nn.init.normal_(policy.actor[-1].weight, std=spread)
    return policy


def policies(lm, sums):
    task, prompts = sums
    found = {f"{action} everywhere": static(torch.tensor([action])) for action in ACTIONS}
    found["filters"] = static(torch.tensor([Strategy(1.25, 3, 0.9, 0.1)]))
    found["token level"] = random_policy(lm)
    return found


@pytest.mark.parametrize("name, n", [("tau=1.25 everywhere", 5000), ("filters", 1000),
                                     ("token level", 1000)])
def test_20000_samples_agree_with_the_value(lm, sums, tree, name, n):
    task, prompts = sums
    policy = policies(lm, sums)[name]
    grade = grade_fn(lm, task, task.test, prompts)
    V, more = value(tree, 24, policy_probabilities(tree, 24, policy))
    episodes = generate(lm, prompts[:4], policy, 24, n=n, rows=2000)
    known = {}                                         # many completions are the same
    for x in episodes:
        key = (x.prompt, tuple(x.tokens.tolist()))
        x.reward = known[key] if key in known else known.setdefault(key, grade(x.prompt, x.tokens))
    rewards = torch.tensor([x.reward for x in episodes]).view(4, n)
    error = 4 * (rewards.var(1) / n).sqrt() + 1e-3
    assert (rewards.mean(1) > V[:4] - error).all()
    assert (rewards.mean(1) < (V + more)[:4] + error).all()


def test_greedy_reaches_one_leaf_and_the_optimum_is_at_least_every_token_policy(lm, sums, tree):
    task, prompts = sums
    p = action_probabilities(tree)
    for T in BUDGETS:
        best, _ = value(tree, T, p)
        V, more = value(tree, T, policy_probabilities(tree, T, static(torch.tensor(ACTIONS[:1]))))
        assert set(V.tolist()) <= {0.0, 1.0} and more.max() == 0
        for policy in (random_policy(lm, 0.1), random_policy(lm),
                       task.scripted_oracle(lm, prompts, torch.full((len(prompts),), T), 1.25)):
            V, _ = value(tree, T, policy_probabilities(tree, T, policy))
            assert (V <= best + 1e-6).all()
        assert best.mean() > V.mean() + 0.02


def test_a_policy_sees_the_tokens_left_and_its_sampled_actions_mix(lm, sums, tree):
    """pi's exact mixture is the mean over its actions, drawn at every node anew."""
    seen = set()

    def watch(state):
        seen.update(zip(state.step.tolist(), state.tokens_left.tolist()))
        return Choice(torch.tensor([Strategy(1.0)]).expand(len(state.row), -1))

    policy_probabilities(tree, 24, watch)
    assert all(left == max(24 - t, 0) for t, left in seen) and (0, 24) in seen
    pi = torch.full((len(tree.depth), len(TEMPERATURES)), 0.25)
    p = action_probabilities(tree)
    mixed, _ = value(tree, 24, p, pi)
    averaged, _ = value(tree, 24, p.mean(1, keepdim=True))
    assert torch.allclose(mixed, averaged, atol=1e-5)


def test_the_optimum_needs_no_tree_where_the_lm_is_sure(lm, sums, tree):
    task, prompts = sums
    grade = grade_fn(lm, task, task.test, prompts)
    slim = grow(lm, prompts, grade, BUDGETS, everywhere=False)
    assert len(slim.depth) < len(tree.depth)
    for T in BUDGETS:
        (few, more), (all_of_it, _) = (value(x, T, action_probabilities(x)) for x in (slim, tree))
        assert torch.allclose(few, all_of_it, atol=1e-5)


def test_a_smaller_cut_narrows_the_bound_and_values_rise(lm, sums, tree):
    task, prompts = sums
    grade = grade_fn(lm, task, task.test, prompts)
    coarse = grow(lm, prompts, grade, BUDGETS, cut=0.02)
    policy = static(torch.tensor([Strategy(1.0)]))
    of = partial(policy_probabilities, policy=policy)
    (low, wide), (high, narrow) = (value(x, 24, of(x, 24)) for x in (coarse, tree))
    assert (high >= low - 1e-6).all() and (high + narrow <= low + wide + 1e-6).all()
    assert narrow.mean() < 0.7 * wide.mean() and len(coarse.depth) < len(tree.depth)


# ---- the exact gradient --------------------------------------------------------------------------
@pytest.fixture
def group(tree):
    dist = distribution_features(tree.logits)
    free = (dist[:, 1] <= DECISION_P_MAX) & ~tree.is_end
    return ceiling.Group(tree, action_probabilities(tree), dist, free)


@pytest.fixture
def policy(lm):
    torch.manual_seed(1)
    policy = TokenPolicy(lm.d, 44)
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.3)            # far from uniform
    return policy


def test_the_exact_gradient_is_that_of_the_value(group, policy):
    """Against differences of J along a random direction of the parameters."""
    def J():
        with torch.no_grad():
            of_budgets = []
            for T in (18, 30):
                nodes, logp = ceiling.decisions(policy, group, T)
                pi = ceiling.everywhere(group, nodes, logp.exp())
                of_budgets.append(value(group.tree, T, group.p, pi)[0].mean())
            return float(torch.stack(of_budgets).mean())

    loss = ceiling.loss_of(policy, group, (18, 30), entropy_bonus=0.0)
    parameters = list(policy.actor.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(x.shape, generator=generator) for x in parameters]
    slope = -sum(float((g * v).sum()) for g, v in zip(gradients, direction))
    ends = []
    for step in (0.003, -0.006):                                       # +.003, then -.003
        for x, v in zip(parameters, direction):
            x.data += step * v
        ends.append(J())
    assert abs(slope) > 1e-3
    assert (ends[0] - ends[1]) / 0.006 == pytest.approx(slope, rel=0.05)


def test_the_leaves_that_a_policy_reaches_have_the_probability_1(group, policy):
    nodes, logp = ceiling.decisions(policy, group, 30)
    tree = group.tree
    pi = ceiling.everywhere(group, nodes, logp.exp().detach())
    reached = ceiling.reach(tree, 30, group.p, pi)
    leaves = (tree.is_end & (tree.depth <= 30)) | (tree.depth == 30)
    problem = tree.problem[leaves]
    of_problems = torch.zeros(len(tree.levels[0])).index_add(0, problem, reached[leaves])
    assert ((of_problems > 0.97) & (of_problems < 1.00001)).all()             # but for what is cut
    V = value(tree, 30, group.p, pi)[0].sum()
    assert float((reached * tree.reward)[leaves].sum()) == pytest.approx(float(V), abs=1e-4)


def test_exact_training_comes_near_the_optimum_of_a_problem(group, policy):
    before = ceiling.values([group], 30, policy).mean()
    ceiling.train_exactly(policy, [group], (30,), steps=60, seed=0)
    after, best = (ceiling.values([group], 30, x).mean() for x in (policy, None))
    assert after > before and after > 0.9 * best

"""How much is left: the exact value of any policy, and of the best one, on trees of completions.

    python -m demos.optimum runs/sums                # of the policies of a run, half a minute

A node of a tree is a prompt with the tokens y_1 .. y_t of a completion so far; its children have
one token more. Its value is the expected reward from there on, by backward induction:

    V(node) = r                                        if it ends in an end token, or t = T
    V(node) = sum_y q(y|node) V(node, y)               q: what a policy makes of the LM's p
    Q(node, a) = sum_y p_a(y|node) V(node, y)          the action a, from there on the best ones
    V(node) = max_a Q(node, a)                         the optimum over A actions

The optimum plans with the rewards of all nodes: it knows the answer, as no policy does. Where the
LM has p_max > .95 it is greedy, as the token level is.

A tree leaves out what no action reaches with a probability above CUT. What is left out counts as
reward 0, or, with missing = 1, as reward 1: the truth lies between the two.

Shapes: M nodes, P problems, A actions, V vocabulary, d hidden size; T token budget; R rows of one
level while a tree grows.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from batch import State
from decode import Policy, Strategy, probs
from experiment.reward_table import GradeFn
from features import P_MAX_COLUMN, distribution_features
from lm import LM
from pomdp import DECISION_P_MAX, GREEDY_ACTION, TEMPERATURES

ACTIONS = [Strategy(temperature) for temperature in TEMPERATURES]
CUT = 0.003            # (ours: at .01 and at .001 no value differs by more than .1 points)
MOST_NODES = 2000      # of a problem, on average (ours: the small LM's trees have 230)


class TooLarge(Exception):
    """The LM is unsure at most tokens, so that too much can be reached."""


@dataclass
class Tree:
    """The nodes of the trees of P problems, by depth: first the roots, one a problem, in order."""
    levels: list[Tensor]   # the numbers of the nodes with t = 0, of those with t = 1 ..
    problem: Tensor        # (M,)
    depth: Tensor          # (M,) t
    parent: Tensor         # (M,) the number of its node; 0 for roots, where nobody asks
    token: Tensor          # (M,) y_t; 0 for roots
    logits: Tensor         # (M, V) of the token behind it
    h: Tensor              # (M, d)
    e: Tensor              # (M, d) of its prompt
    is_end: Tensor         # (M,) y_t is an end token: the node has no children
    reward: Tensor         # (M,) of its completion, where that can end: at an end token or a budget


def is_sure(logits: Tensor) -> Tensor:
    """(R,) bool: p_max > .95, where the token level does not decide and is greedy."""
    return distribution_features(logits)[:, P_MAX_COLUMN] > DECISION_P_MAX


def probabilities_by_action(logits: Tensor) -> list[Tensor]:
    """The next-token probabilities (R, V) under each action."""
    strategies = torch.tensor(ACTIONS, device=logits.device)
    return [probs(logits, strategy.expand(len(logits), -1), filters=False)
            for strategy in strategies]


def largest_probability(logits: Tensor, everywhere: bool) -> Tensor:
    """(R, V): the largest probability that an action gives each token; see `grow`."""
    by_action = probabilities_by_action(logits)
    largest = torch.stack(by_action).amax(0)
    if not everywhere:
        largest = torch.where(is_sure(logits)[:, None], by_action[GREEDY_ACTION], largest)
    return largest


@torch.no_grad()
def grow(lm: LM, prompts: list[str], grade: GradeFn, budgets: tuple[int, ...],
         cut: float = CUT, everywhere: bool = True) -> Tree:
    """The trees of P prompts up to the largest token budget. grade: see `grade_fn`.

    everywhere: grow by all actions at every token, which static strategies need, and not by greedy
    alone where p_max > .95, which is all that token policies and the optimum reach.
    All trees grow together by one token a step, a row of the KV cache for each node of the level.
    """
    P = len(prompts)
    device = lm.device
    logits, cache, mask = lm.prefill([lm.encode(prompt) for prompt in prompts])
    e = lm.h
    position = mask.sum(1)                                                 # of the next token
    problem = torch.arange(P, device=device)
    completion = torch.zeros(P, 0, dtype=torch.long, device=device)        # y_1 .. y_t, (R, t)
    reach = torch.ones(P, device=device)               # the largest probability to come here
    zeros = torch.zeros_like(problem)
    levels = [[problem, zeros, zeros, zeros, logits, e, e, zeros.bool(), zeros.float()]]
    first = 0                                          # the number of the level's first node
    for t in range(1, max(budgets) + 1):
        # The children that an action reaches: token y behind the node in `row` of the last level
        reach_of_children = reach[:, None] * largest_probability(logits, everywhere)   # (R, V)
        row, y = (reach_of_children > cut).nonzero().unbind(1)                         # (R,) new
        if len(row) == 0:
            break
        if first + len(reach) + len(row) > MOST_NODES * P:
            raise TooLarge
        parent = first + row
        first += len(reach)
        problem = problem[row]
        completion = torch.cat([completion[row], y[:, None]], dim=1)
        is_end = torch.isin(y, lm.ends)
        reach = reach_of_children[row, y].masked_fill(is_end, 0.0)

        # The rewards of the completions that can end here
        reward = torch.zeros(len(y))
        can_end = is_end | (t in budgets)
        for i in can_end.nonzero().squeeze(1).tolist():
            reward[i] = grade(int(problem[i]), completion[i])
        reward = reward.to(device)

        # Read the new tokens, each behind the keys and values of its parent
        cache.batch_select_indices(row)
        mask = torch.cat([mask[row], torch.ones_like(mask[row, :1])], dim=1)
        logits = lm.forward(y[:, None], position[row, None], mask, cache)
        position = position[row] + 1
        depth = torch.full_like(y, t)
        levels.append([problem, depth, parent, y, logits, lm.h, e[problem], is_end, reward])
    sizes = [len(level[0]) for level in levels]
    numbers = torch.arange(sum(sizes), device=device).split(sizes)
    return Tree([*numbers], *(torch.cat(parts) for parts in zip(*levels)))


# ---- values -------------------------------------------------------------------------------------
def backward_induction(tree: Tree, T: int, p: Tensor, pi: Tensor | None = None,
                       missing: float = 0.0) -> tuple[Tensor, Tensor]:
    """V (M,) and Q (M, A) at token budget T; V's first P are the values of the problems.

    p (M, A): the probability of each node's token under each action at its parent.
    pi (M, A): a policy's probabilities of the actions; without it, the best action is taken.
    missing: the reward that is assumed where the tree was cut.
    """
    # assignment 12
    is_leaf = tree.is_end | (tree.depth == T)
    V = torch.zeros_like(tree.reward)
    # Q = sum_y p_a(y) V(y), where V(y) = `missing` for the tokens that have no node
    Q = torch.full_like(p, missing)
    for t, nodes in reversed([*enumerate(tree.levels[:T + 1])]):
        best = Q[nodes].amax(1) if pi is None else (pi[nodes] * Q[nodes]).sum(1)
        V[nodes] = torch.where(is_leaf[nodes], tree.reward[nodes], best)
        if t > 0:                                                          # roots have no parent
            gain = p[nodes] * (V[nodes] - missing)[:, None]
            Q.index_add_(0, tree.parent[nodes], gain)
    return V, Q


def action_probabilities(tree: Tree) -> Tensor:
    """p (M, A) for `backward_induction`: the token level's actions, greedy where p_max > .95."""
    by_action = probabilities_by_action(tree.logits)
    p = torch.stack([q[tree.parent, tree.token] for q in by_action], dim=1)
    sure = is_sure(tree.logits)[tree.parent]
    return torch.where(sure[:, None], p[:, GREEDY_ACTION, None], p)


def policy_probabilities(tree: Tree, T: int, policy: Policy) -> Tensor:
    """p (M, 1) for `backward_induction`: what a policy without randomness of its own does.

    Its `State` has a row for each node; the rows' numbers are those of the problems.
    """
    state = State(row=tree.problem, tokens_left=(T - tree.depth).clamp(min=0), logits=tree.logits,
                  h=tree.h, e=tree.e, step=tree.depth, position=tree.depth,
                  uniforms=tree.e[:, :0])
    with torch.no_grad():
        choice = policy(state)
    q = probs(tree.logits, choice.strategies, choice.filters)                          # (M, V)
    return q[tree.parent, tree.token][:, None]


def value(tree: Tree, T: int, p: Tensor, pi: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Pass@1 (P,) of each problem, and by how much it may be higher (P,); as backward_induction."""
    P = len(tree.levels[0])
    lower, _ = backward_induction(tree, T, p, pi)
    upper, _ = backward_induction(tree, T, p, pi, missing=1.0)
    return lower[:P], (upper - lower)[:P]

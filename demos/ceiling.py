"""How well can a token policy do that sees o_t? The same network, trained by its exact gradient.

    python -m demos.ceiling runs/sums                            # one style, about a minute
    python -m demos.ceiling runs/sums --styles cot,direct        # one policy for both, and a choice
    python -m demos.ceiling runs/sums --parts entropy,budget     # another observation

On trees (experiment/optimum.py) the expected reward of a policy is a differentiable function of its
probabilities, so it needs no samples, no critic and no clipping:

    J = mean over problems and token budgets of V(root)
    grad J = sum over nodes of reach(node) sum_a grad pi(a|o) Q(node, a)           (policy gradient)

reach is the probability that the policy comes to a node. What the trained policy earns on held-out
problems is what these features and this network allow, up to how well they were trained: PPO, which
samples, has the difference to lose. Beside the entropy bonus, which falls to 0, nothing is added.

With several styles "chosen by a bandit" takes, for each problem and budget, the most likely style
of a softmax bandit. It was trained by its exact gradient too, that of E[r|x] = sum_s pi(s|x) V_s.
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from bandit import SoftmaxBandit, best_arm, optimizer_step
from experiment.config import check
from experiment.load import load
from experiment.optimum import (Tree, action_probabilities, backward_induction, grow, is_sure,
                                policy_probabilities, value)
from experiment.reward_table import grade_fn
from experiment.run import read_config
from features import context, distribution_features
from lm import LM
from pomdp import GREEDY_ACTION, TokenPolicy
from tasks import Task
from utils.errors import OptionError, UserError
from utils.options import Parser
from utils.parts import CONTEXT_PARTS, OBSERVATION_PARTS
from utils.problem_files import Problem

GROUP = 64             # problems whose trees are one step's data (ours: a step takes 25 ms)
LR = 1e-3              # ours: falls to a twentieth; at 3e-3 one of three ends 8 points lower
BANDIT_STEPS = 1500    # ours: 2,000 problems at 5 budgets are seen 38 times each
ENTROPY = 0.003        # ours: falls to 0
CUT = 0.01             # of training trees (ours: half the nodes, and the same values to .1)


@dataclass
class Group:
    """The trees of some problems in one style, with what does not depend on the policy."""
    tree: Tree
    p: Tensor                  # (M, A), as `action_probabilities`
    dist: Tensor               # (M, 4) features of the next-token distributions
    free: Tensor               # (M,) bool: here the policy decides


def groups_of(lm: LM, task: Task, problems: list[Problem], style: str, size: int,
              **options: float) -> list[Group]:
    """The trees of the problems, `size` at once; options of `grow`."""
    groups = []
    for i in tqdm(range(0, len(problems), size), desc=f"trees, {style}", leave=False):
        some = problems[i:i + size]
        prompts = [task.prompt(problem, style) for problem in some]
        tree = grow(lm, prompts, grade_fn(lm, task, some, prompts), task.budgets, everywhere=False,
                    **options)
        free = ~is_sure(tree.logits) & ~tree.is_end
        groups.append(Group(tree, action_probabilities(tree), distribution_features(tree.logits),
                            free))
    return groups


# ---- the policy on a tree -----------------------------------------------------------------------
def decisions(policy: TokenPolicy, group: Group, T: int) -> tuple[Tensor, Tensor]:
    """The nodes (F,) where the policy decides under token budget T, and log pi (F, A) there."""
    tree = group.tree
    nodes = (group.free & (tree.depth < T)).nonzero().squeeze(1)
    tokens_left = T - tree.depth[nodes]
    obs = policy.observation(tree.h[nodes], tree.e[nodes], group.dist[nodes], tokens_left)
    return nodes, policy.actor(obs).log_softmax(1)


def everywhere(group: Group, nodes: Tensor, pi: Tensor) -> Tensor:
    """(M, A): pi (F, A) at the nodes where the policy decides, greedy at the others."""
    whole = torch.zeros_like(group.p)
    whole[:, GREEDY_ACTION] = 1
    whole[nodes] = pi
    return whole


def reach(tree: Tree, T: int, p: Tensor, pi: Tensor) -> Tensor:
    """(M,): the probability that a policy pi (M, A) comes to each node."""
    q = (pi[tree.parent] * p).sum(1)                       # of each node's token at its parent
    reached = torch.zeros(len(p))
    reached[tree.levels[0]] = 1
    for nodes in tree.levels[1:T + 1]:
        reached[nodes] = reached[tree.parent[nodes]] * q[nodes]
    return reached


def loss_of(policy: TokenPolicy, group: Group, budgets: tuple[int, ...], entropy_bonus: float
            ) -> Tensor:
    """-J and the entropy bonus; its gradient is exact."""
    loss = torch.zeros(())
    for T in budgets:
        nodes, logp = decisions(policy, group, T)
        with torch.no_grad():
            pi = everywhere(group, nodes, logp.exp())
            V, Q = backward_induction(group.tree, T, group.p, pi)
            weight = reach(group.tree, T, group.p, pi)[nodes]                          # (F,)
            advantage = Q[nodes] - V[nodes][:, None]                                   # (F, A)
        gain = (logp.exp() * advantage).sum(1)
        entropy = -(logp.exp() * logp).sum(1)
        loss = loss - (weight * (gain + entropy_bonus * entropy)).sum()
    return loss / (len(group.tree.levels[0]) * len(budgets))


def train_exactly(policy: TokenPolicy, groups: list[Group], budgets: tuple[int, ...], steps: int,
                  seed: int) -> None:
    """Each step takes a group of trees at random."""
    optimizer = torch.optim.Adam(policy.actor.parameters(), lr=LR, eps=1e-5)
    generator = torch.Generator().manual_seed(seed)
    for step in tqdm(range(steps), desc="exact gradient", leave=False):
        left = 1 - step / steps
        for parameters in optimizer.param_groups:
            parameters["lr"] = LR * (0.05 + 0.95 * left)
        group = groups[int(torch.randint(len(groups), (1,), generator=generator))]
        optimizer_step(optimizer, policy.actor, loss_of(policy, group, budgets, ENTROPY * left))


def values(groups: list[Group], T: int, policy: TokenPolicy | None = None) -> Tensor:
    """Pass@1 (P,) of the policy's most likely actions, or of the optimum without a policy."""
    found = []
    for group in groups:
        p = policy_probabilities(group.tree, T, policy) if policy else group.p
        found.append(value(group.tree, T, p)[0])
    return torch.cat(found)


def table(groups: dict[str, list[Group]], budgets: tuple[int, ...],
          policy: TokenPolicy | None = None) -> Tensor:
    """Pass@1 (P, S, T) in each of S styles, as `values`."""
    of_styles = [torch.stack([values(some, T, policy) for T in budgets], 1)
                 for some in groups.values()]
    return torch.stack(of_styles, 1)


# ---- the choice of the style --------------------------------------------------------------------
def chosen_by_bandit(trained: Tensor, tested: Tensor, e: Tensor, e_tested: Tensor,
                     budgets: tuple[int, ...], seed: int) -> Tensor:
    """Pass@1 (P, T) of a bandit over styles; trained, tested (P, S, T): exact values of each."""
    P, S, _ = trained.shape
    tokens = torch.tensor(budgets).repeat(P)
    x = context(e.repeat_interleave(len(budgets), 0), torch.ones(len(tokens)), tokens, max(budgets))
    reward = trained.transpose(1, 2).reshape(-1, S)                                    # (P * T, S)
    torch.manual_seed(seed)
    bandit = SoftmaxBandit(x.shape[1], S)
    optimizer = torch.optim.Adam(bandit.actor.parameters(), lr=LR)
    for _ in range(BANDIT_STEPS):
        rows = torch.randint(len(x), (256,))
        expected = (bandit(x[rows]).exp() * reward[rows]).sum(1)                       # E[r|x]
        optimizer_step(optimizer, bandit.actor, -expected.mean())
    columns = []
    for t, T in enumerate(budgets):
        style = best_arm(bandit, e_tested, 1, T, max(budgets), CONTEXT_PARTS)          # (P,)
        columns.append(tested[torch.arange(len(style)), style, t])
    return torch.stack(columns, 1)


def embeddings(groups: list[Group]) -> Tensor:
    """e (P, d) of the problems' prompts."""
    return torch.cat([group.tree.e[group.tree.levels[0]] for group in groups])


def main() -> None:
    parser = Parser(prog="demos.ceiling", description="The ceiling of a token policy's features.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--styles", default="cot", help="between commas (default: cot)")
    parser.add_argument("--parts", default=",".join(OBSERVATION_PARTS), help="of o_t")
    parser.add_argument("--problems", type=int, default=2000, help="for training (default: 2000)")
    parser.add_argument("--test-problems", type=int, help="held-out ones (default: the run's)")
    parser.add_argument("--steps", type=int, default=1000, help="gradient steps (default: 1000)")
    parser.add_argument("--width", type=int, default=128, help="of the network (default: 128)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if min(args.problems, args.steps, args.width, args.test_problems or 1) < 1:
        raise OptionError("--problems, --test-problems, --steps and --width must be at least 1")
    config = read_config(args.folder)
    config.parts = args.parts
    config.token_problems = max(config.token_problems, args.problems)
    config.test_problems = args.test_problems or config.test_problems
    config.styles = args.styles
    check(config)
    lm, task = load(config)
    budgets, styles = task.budgets, args.styles.split(",")
    problems = task.train[config.problems:config.problems + args.problems]
    if len(problems) < args.problems:
        raise UserError(f"there are {len(problems)} training problems beside the reward table's")

    start = time.perf_counter()
    train = {style: groups_of(lm, task, problems, style, GROUP, cut=CUT) for style in styles}
    test = {style: groups_of(lm, task, task.test, style, GROUP) for style in styles}
    torch.manual_seed(args.seed)
    policy = TokenPolicy(lm.d, max(budgets), args.parts.split(","), args.width)
    every = [group for groups in train.values() for group in groups]
    train_exactly(policy, every, budgets, args.steps * len(styles), args.seed)
    print(f"{len(problems)} problems, {args.steps * len(styles)} steps, "
          f"{time.perf_counter() - start:.0f} s")

    tested = table(test, budgets, policy)                                              # (P, S, T)
    optimum = table(test, budgets)
    rows = {}
    for s, style in enumerate(styles):
        rows[f"trained by the exact gradient, {style}"] = tested[:, s]
        rows[f"optimum, knows the answer, {style}"] = optimum[:, s]
    if len(styles) > 1:
        # The contexts have the embedding of the prompt in the first style, as in train.py
        e, e_tested = embeddings(train[styles[0]]), embeddings(test[styles[0]])
        trained = table(train, budgets, policy)
        rows["the style chosen by a bandit"] = chosen_by_bandit(trained, tested, e, e_tested,
                                                                budgets, args.seed)
        rows["the better style, in hindsight"] = tested.amax(1)
        rows["optimum, knows the answer, of all styles"] = optimum.amax(1)
    print(f"{'Pass@1 in %':44}" + "".join(f"{f'T = {T}':>8}" for T in budgets))
    for name, row in rows.items():
        print(f"{name:44}" + "".join(f"{100 * float(x):8.1f}" for x in row.mean(0)))


if __name__ == "__main__":
    run_program("demos.ceiling", main)

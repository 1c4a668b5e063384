"""Sequence level: a contextual bandit that picks one decoding strategy for the whole prompt.

    python -m demos.regret    # regret of both bandits where the best arms are known; 4 seconds
    python train.py           # trains both on a reward table

    context   x = [e; B; T]           prompt embedding, parallel budget, token budget (features.py)
    action    s in S                  an arm: (prompt style, strategy)
    reward    r in {0, 1}             did any of the B samples verify?

1. The action set S: greedy coverage selection out of 180 strategies (decode.strategy_pool; train.py
   samples 24 of them in each style, unless told otherwise),
       coverage(S) = mean_x max_{s in S} reward[x, s],
       S <- S + argmax_s coverage(S + s)                                                (paper)
2. Softmax bandit: a 3-layer MLP, REINFORCE with a baseline and an entropy bonus,
       grad J = E[(r - baseline(x)) grad log pi(s|x)] + entropy_bonus grad H(pi(.|x))   (paper)
3. LinUCB (Li et al. 2010, disjoint arms), with theta_s = A_s^-1 b_s,
       s = argmax_s theta_s . x + alpha sqrt(x . A_s^-1 x)                              (ours)

Sampling is expensive: it is done once, into a table of rewards from which the bandits are trained.
Shapes: P problems, S arms, n samples, T token budgets, X contexts (problem, B, T), R rows, D inputs

Deviations from the paper: (1) the grid of 180 is not published; decode.py has ours. (2) A context
is a prompt at a (B, T), and coverage is the mean over all of them: one S serves all budgets.
"""
import itertools
from functools import partial
from typing import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from features import CONTEXT_PARTS, PARALLEL_BUDGETS, context

LR = 1e-3              # softmax bandit, Adam (prototype)
ENTROPY = 0.1          # softmax bandit, entropy bonus (ours: see `train_softmax`)
GRAD_NORM = 0.5        # gradients are clipped at this norm, here and in pomdp.py (prototype)
ALPHA = 0.3            # LinUCB (ours: at 2.2, the bound's for delta = .1, it explores too long)

# (indices of contexts (R,), actions (R,), random generator) -> rewards (R,) of 0 or 1
Pull = Callable[[Tensor, Tensor, torch.Generator], Tensor]
Progress = Callable[..., None]         # is called after every step with its diagnostics by name


# ---- rewards ------------------------------------------------------------------------------------
def pass_at(rewards: np.ndarray, B: int) -> np.ndarray:
    """Unbiased Pass@B over the last axis, n >= B samples of 0/1 (Chen et al. 2021).

    1 - C(n - c, B) / C(n, B) = 1 - prod_{i < B} (n - c - i) / (n - i),   c = right samples
    """
    n = rewards.shape[-1]
    if not 1 <= B <= n:
        raise ValueError(f"Pass@{B} needs at least {B} samples, not {n}")
    # assignment 9
    wrong = n - rewards.sum(-1, dtype=np.float64)                                  # n - c
    all_wrong = np.ones_like(wrong)                # the chance that all of B samples are wrong
    for i in range(B):
        all_wrong *= np.clip(wrong - i, 0, None) / (n - i)
    return 1 - all_wrong


def expected_rewards(table: np.ndarray, parallel: Sequence[int] = PARALLEL_BUDGETS
                     ) -> tuple[np.ndarray, np.ndarray]:
    """reward[x, s] (X, S), which is Pass@B, and what context x is (X, 3): (problem, B, t).

    table (P, S, n, T) of 0/1; t counts token budgets. B are those of `parallel` that are <= n.
    """
    # Pass@B of every problem, arm and token budget, for each B that n samples allow
    P, S, n, T = table.shape
    possible = [B for B in parallel if B <= n]
    samples_last = np.moveaxis(table, 2, -1)                                       # (P, S, T, n)
    reward = np.stack([pass_at(samples_last, B) for B in possible], axis=1)        # (P, B, S, T)
    # A row for each context, a column for each arm
    reward = reward.transpose(0, 1, 3, 2).reshape(-1, S)                           # (X, S)
    index = np.array(list(itertools.product(range(P), possible, range(T))))        # (X, 3)
    return reward, index


def bandit_problem(e: Tensor, table: np.ndarray, budgets: Sequence[int],
                   parts: Sequence[str] = CONTEXT_PARTS) -> tuple[Tensor, Tensor]:
    """Contexts x (X, D) and expected rewards reward[x, s] (X, S): what a bandit is trained on.

    e (P, d) prompt embeddings, table (P, S, n, T) of 0/1, its T token budgets.
    """
    reward, index = expected_rewards(table)
    problem, B, t = torch.from_numpy(index).unbind(1)                              # (X,) each
    tokens = torch.tensor(budgets)[t]
    x = context(e[problem], B, tokens, horizon=max(budgets), parts=parts)
    return x, torch.from_numpy(reward).float()


def coin_tosses(reward: Tensor) -> Pull:
    """Pulls that toss a coin of Pass@B, reward[x, s] of (X, S): did any of B samples verify?"""
    def pull(rows: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(len(rows), generator=generator)
        return (uniform < reward[rows, actions]).float()

    return pull


def informative(table: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Problems (P,) whose rewards tell the arms apart, and two shares of those that do not (paper).

    table (P, S, n), rewards in [0, 1]. *Constant* problems give the same reward whatever is done.
    *Noise* problems differ between arms no more than by chance: the variance of the arms' means is
    not larger than the variance that a mean of n samples has anyway. That is estimated by
    mean_s(var) / (n - 1), var being the mean squared deviation of an arm's n samples. With one arm
    there is nothing to differ, and no noise.
    """
    _, S, n = table.shape
    constant = table.max((1, 2)) == table.min((1, 2))
    between = table.mean(2).var(1, ddof=min(1, S - 1))           # of the arms' means
    # The unbiased variance of a sample, divided by n: (n / (n - 1)) var / n = var / (n - 1)
    within = table.var(2).mean(1) / max(n - 1, 1)
    noise = ~constant & (between <= within) & (S > 1)
    return ~constant & ~noise, constant.mean(), noise.mean()


# ---- 1. the action set --------------------------------------------------------------------------
def coverage(reward: np.ndarray, size: int) -> tuple[list[int], list[float]]:
    """Greedy maximisation of coverage(S) over reward (X, S): chosen columns, coverage after each.

    It is monotone and submodular: greedy reaches at least 1 - 1/e of the best (Nemhauser 1978).
    """
    # assignment 6
    best = np.zeros(len(reward))                      # (X,) max of the chosen columns
    chosen = []
    curve = []
    for _ in range(min(size, reward.shape[1])):
        # What coverage(S + s) would be, for every candidate s at once; -1 where s is in S already
        candidates = np.maximum(reward, best[:, None]).mean(0)                     # (S,)
        candidates[chosen] = -1
        s = int(candidates.argmax())
        chosen.append(s)
        best = np.maximum(best, reward[:, s])
        curve.append(float(best.mean()))
    return chosen, curve


def top_by_average(reward: np.ndarray, size: int) -> tuple[list[int], list[float]]:
    """The other selection: the `size` best columns by their average, and coverage after each."""
    chosen = np.argsort(-reward.mean(0), kind="stable")[:size].tolist()
    curve = [float(reward[:, chosen[:i + 1]].max(1).mean()) for i in range(len(chosen))]
    return chosen, curve


# ---- 2. the softmax bandit ----------------------------------------------------------------------
class SoftmaxBandit(nn.Module):
    """pi(s|x) = softmax(MLP(x)), and baseline(x), an MLP of its own; width 64 (prototype)."""

    def __init__(self, inputs: int, arms: int, width: int = 64):
        super().__init__()
        self.width = width
        self.actor = mlp(inputs, width, arms)
        self.critic = mlp(inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """log pi (R, S) of contexts (R, D)."""
        return self.actor(x).log_softmax(-1)


def mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Three layers (paper). The last starts at 0: the policy is uniform, the baseline is 0."""
    hidden = [nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*hidden, last)


def reinforce_loss(bandit: SoftmaxBandit, x: Tensor,
                   draw: Callable[[Tensor, torch.Generator], Tensor], generator: torch.Generator,
                   entropy_bonus: float) -> tuple[Tensor, float, float]:
    """(loss, mean reward, mean entropy in nats). Its gradient is -grad J for the actor, and that of
    mean (baseline(x) - r)^2 for the critic.

    x (R, D) contexts; draw(actions (R,), generator) gives their rewards r (R,).
    """
    # assignment 4
    # Sample one action for each context, and see its reward
    logp_all = bandit(x)                                                           # (R, S)
    action = torch.multinomial(logp_all.exp(), 1, generator=generator)             # (R, 1)
    logp = logp_all.gather(1, action).squeeze(1)                                   # (R,)
    reward = draw(action.squeeze(1), generator)                                    # (R,)
    # Policy gradient; no gradient flows into the baseline through the advantage
    baseline = bandit.critic(x).squeeze(1)                                         # (R,)
    advantage = (reward - baseline).detach()
    policy_loss = -(advantage * logp).mean()
    # The entropy bonus keeps all arms in play; the baseline is a regression on the rewards
    entropy = -(logp_all.exp() * logp_all).sum(1).mean()
    value_loss = (baseline - reward).pow(2).mean()
    loss = policy_loss - entropy_bonus * entropy + value_loss
    return loss, reward.mean().item(), entropy.item()


def optimizer_step(optimizer: torch.optim.Optimizer, net: nn.Module, loss: Tensor) -> Tensor:
    """One step on the loss; returns the gradient's norm before it was clipped."""
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), GRAD_NORM)
    optimizer.step()
    return norm


def train_softmax(x: Tensor, pull: Pull, arms: int, steps: int = 1500, batch: int = 256,
                  lr: float = LR, entropy_bonus: float = ENTROPY, seed: int = 0,
                  progress: Progress | None = None) -> SoftmaxBandit:
    """Trains on contexts x (X, D), whose rewards `pull` draws. Steps, batch and lr: prototype.

    Entropy bonus .1 (ours): with the prototype's .02 the bandit may drop an arm that is right in
    few contexts, such as greedy, before it can tell these contexts apart. Of two trainings one lost
    11 points at T = 44 in this way.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):             # the caller's random state stays as it is
        torch.manual_seed(seed)
        bandit = SoftmaxBandit(x.shape[1], arms)
    optimizer = torch.optim.Adam(bandit.parameters(), lr=lr, fused=True)
    for step in range(steps):
        # Draw contexts; pull an arm in each, and learn from the rewards
        rows = torch.randint(len(x), (batch,), generator=generator)
        draw = partial(pull, rows)
        loss, reward, entropy = reinforce_loss(bandit, x[rows], draw, generator, entropy_bonus)
        norm = optimizer_step(optimizer, bandit, loss)
        if progress:
            progress(step=step, reward=reward, entropy=entropy, grad_norm=norm.item())
    return bandit


# ---- 3. LinUCB ----------------------------------------------------------------------------------
class LinUCB(nn.Module):
    """One ridge regression for each arm, and optimism where an arm has been tried seldom.

        theta_s = A_s^-1 b_s,    A_s = I + sum x x^T,    b_s = sum r x    over the pulls of arm s
        with probability 1 - delta:  |theta_s . x - E[r|x, s]| <= alpha sqrt(x . A_s^-1 x),
        alpha = 1 + sqrt(ln(2 / delta) / 2), if E[r|x, s] is linear in x        (Li et al. 2010)
    """

    def __init__(self, inputs: int, arms: int, alpha: float = ALPHA):
        super().__init__()
        self.alpha = alpha
        self.inverse: Tensor                                           # A_s^-1 (S, D, D)
        self.b: Tensor                                                 # b_s (S, D)
        identity = torch.eye(inputs, dtype=torch.float64)      # fp64: thousands of rank-1 updates
        self.register_buffer("inverse", identity.repeat(arms, 1, 1))
        self.register_buffer("b", torch.zeros(arms, inputs, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Estimated rewards theta_s . x (R, S) at contexts x (R, D)."""
        theta = torch.einsum("sij,sj->si", self.inverse, self.b)                   # (S, D)
        return x.double() @ theta.T

    def width(self, x: Tensor) -> Tensor:
        """Half the width of the confidence interval, alpha sqrt(x . A_s^-1 x) (R, S); x (R, D)."""
        # assignment 5
        x = x.double()
        variance = torch.einsum("ri,sij,rj->rs", x, self.inverse, x)
        return self.alpha * variance.sqrt()

    def choose(self, x: Tensor) -> Tensor:
        """The arm (R,) of the highest upper confidence bound."""
        return (self(x) + self.width(x)).argmax(1)

    def update(self, x: Tensor, action: int, reward: float) -> None:
        """x (D,). (A + x x^T)^-1 = A^-1 - A^-1 x x^T A^-1 / (1 + x A^-1 x)   (Sherman, Morrison)"""
        # assignment 5
        x = x.double()
        v = self.inverse[action] @ x                                               # A^-1 x (D,)
        self.inverse[action] -= torch.outer(v, v) / (1 + x @ v)
        self.b[action] += reward * x


def train_linucb(x: Tensor, pull: Pull, arms: int, steps: int = 500, batch: int = 16,
                 alpha: float = ALPHA, seed: int = 0, progress: Progress | None = None,
                 kind: type[LinUCB] = LinUCB) -> LinUCB:
    """Online, in batches of 16 (ours: to choose a batch at once is 10 times faster).

    x and pull as in `train_softmax`. kind: LinUCB, or a subclass that chooses in another way.
    """
    generator = torch.Generator().manual_seed(seed)
    bandit = kind(x.shape[1], arms, alpha)
    for step in range(steps):
        # Draw contexts; choose an arm in each by the bounds as they are, and pull it
        rows = torch.randint(len(x), (batch,), generator=generator)
        actions = bandit.choose(x[rows])
        rewards = pull(rows, actions, generator)
        for row, action, reward in zip(rows, actions, rewards):
            bandit.update(x[row], int(action), float(reward))
        if progress:
            progress(step=step, reward=rewards.mean().item())
    return bandit


@torch.no_grad()
def best_arm(bandit: nn.Module, e: Tensor, B: int, T: int, horizon: int,
             parts: Sequence[str]) -> Tensor:
    """The arm (R,) at prompts e (R, d), budgets B and T: its most likely, or best estimated."""
    ones = torch.ones(len(e))
    x = context(e, B * ones, T * ones, horizon, parts)
    return bandit(x).argmax(1)

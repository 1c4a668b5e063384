"""Sequence level: a contextual bandit that picks one decoding strategy for the whole prompt.

    python -m demos.regret    # regret of both bandits where the best arms are known; 4 seconds
    python train.py           # trains both on a reward table

    context   x = [e; B; T]           prompt embedding, parallel budget, token budget (features.py)
    action    s in S                  an arm: (prompt style, strategy)
    reward    r in {0, 1}             did any of the B samples verify?

1. The action set S: greedy coverage selection out of 180 strategies (`pool`),
       F(S) = mean_x max_{s in S} R(x, s),   S <- S + argmax_s F(S + s)                      (paper)
2. Softmax bandit: a 3-layer MLP, REINFORCE with a baseline and an entropy bonus,
       grad J = E[(r - b(x)) grad log pi(s|x)] + c grad H(pi(.|x))                           (paper)
3. LinUCB (Li et al. 2010, disjoint arms), by hand: theta_s = A_s^-1 b_s,
       s = argmax theta_s . x + alpha sqrt(x . A_s^-1 x)                                      (ours)

RewardStore are sampled once into a table (prompt, arm, sample, token budget); bandits replay it.
Shapes: P problems, S arms, n samples, T token budgets, X contexts (problem, B, T), R rows,
D inputs.

Deviations from the paper: (1) the grid of 180 is not published: ours is below. (2) x is a prompt at
a (B, T), and F is the mean over all of them, so that one S serves every budget.
"""
import itertools
from typing import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from features import CONTEXT_PARTS, PARALLEL_BUDGETS, context

LR = 1e-3              # softmax bandit, Adam (prototype)
ENTROPY = 0.1          # softmax bandit, c (ours: see `train_softmax`)
GRAD_NORM = 0.5        # gradients are clipped at it, here and in pomdp.py (prototype)
ALPHA = 0.3            # LinUCB (ours: the bound's own value, 2.2 at delta = .1, explores too long)

# RewardStore (R,) of 0 or 1 at contexts (R,) for actions (R,); what a step came to, by name.
Pull = Callable[[Tensor, Tensor, torch.Generator], Tensor]
Progress = Callable[..., None]


# ---- rewards ------------------------------------------------------------------------------------
def pass_at(rewards: np.ndarray, B: int) -> np.ndarray:
    """Unbiased Pass@B over the last axis, n >= B samples of 0/1 (Chen et al. 2021).

    1 - C(n - c, B) / C(n, B) = 1 - prod_{i < B} (n - c - i) / (n - i),   c = right samples
    """
    n = rewards.shape[-1]
    if not 1 <= B <= n:
        raise ValueError(f"Pass@{B} needs at least {B} samples, not {n}")
    # assignment 9
    wrong = n - rewards.sum(-1, dtype=np.float64)
    misses = np.ones_like(wrong)
    for i in range(B):
        misses *= np.clip(wrong - i, 0, None) / (n - i)
    return 1 - misses


def contexts(table: np.ndarray, parallel: Sequence[int] = PARALLEL_BUDGETS) -> np.ndarray:
    """R(x, s) (X, S) from a table (P, S, n, T), X = P * T * how many B of `parallel` are <= n."""
    values = [pass_at(np.moveaxis(table, 2, -1), B) for B in parallel if B <= table.shape[2]]
    return np.stack(values, 1).transpose(0, 1, 3, 2).reshape(-1, table.shape[1])


def expected_rewards(table: np.ndarray, parallel: Sequence[int] = PARALLEL_BUDGETS
                     ) -> tuple[np.ndarray, np.ndarray]:
    """reward[x, s] (X, S), which is Pass@B, and what context x is (X, 3): (problem, B, t).

    table (P, S, n, T) of 0/1; t counts token budgets. B are those of `parallel` that are <= n.
    """
    P, S, n, T = table.shape
    possible = [B for B in parallel if B <= n]
    samples_last = np.moveaxis(table, 2, -1)                                       # (P, S, T, n)
    reward = np.stack([pass_at(samples_last, B) for B in possible], axis=1)        # (P, B, S, T)
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


def replay(reward: Tensor) -> Pull:
    """Pulls that toss a coin of Pass@B, reward[x, s] of (X, S): did any of B samples verify?"""
    def pull(rows: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(len(rows), generator=generator)
        return (uniform < reward[rows, actions]).float()

    return pull


def informative(table: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Prompts (P,) whose reward says something about the arms, and the shares left out (paper).

    table (P, S, n), rewards in [0, 1]: *constant* prompts pay the same whatever is done; *noise*
    prompts differ between arms no more than chance makes them: var_s(mean) <= mean_s(var) / n.
    """
    n, mean = table.shape[2], table.mean(2)                                             # (P, S)
    constant = table.max((1, 2)) == table.min((1, 2))
    within = table.var(2).mean(1) / max(n - 1, 1)                        # unbiased var, over n
    noise = ~constant & (mean.var(1, ddof=1) <= within)
    return ~constant & ~noise, constant.mean(), noise.mean()


# ---- 1. the action set --------------------------------------------------------------------------
def coverage(values: np.ndarray, size: int) -> tuple[list[int], list[float]]:
    """Greedy maximisation of F over R(x, s) (X, S): the chosen columns and F after each.

    F is monotone and submodular, so greedy reaches at least 1 - 1/e of the best (Nemhauser 1978).
    """
    # assignment 6
    best, chosen, curve = np.zeros(len(values)), [], []
    for _ in range(min(size, values.shape[1])):
        gain = np.maximum(values, best[:, None]).mean(0)                                # F(S + s)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        best = np.maximum(best, values[:, chosen[-1]])
        curve.append(float(best.mean()))
    return chosen, curve


def top_by_average(values: np.ndarray, size: int) -> tuple[list[int], list[float]]:
    """The rival selection: the `size` best columns by average, and F after each."""
    chosen = np.argsort(-values.mean(0), kind="stable")[:size].tolist()
    return chosen, [float(values[:, chosen[:i + 1]].max(1).mean()) for i in range(len(chosen))]


# ---- 2. the softmax bandit ----------------------------------------------------------------------
class SoftmaxBandit(nn.Module):
    """pi(s|x) = softmax(MLP(x)), and a baseline b(x) beside it; 64-64 (prototype)."""

    def __init__(self, inputs: int, arms: int, width: int = 64):
        super().__init__()
        self.width = width
        self.actor, self.critic = mlp(inputs, width, arms), mlp(inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """log pi (R, S) of contexts (R, D)."""
        return self.actor(x).log_softmax(-1)


def mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Three layers (paper); the last starts at 0: a uniform policy and a baseline of 0."""
    hidden = [nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*hidden, last)


def reinforce_loss(bandit: SoftmaxBandit, x: Tensor, draw: Callable[[Tensor], Tensor],
                   generator: torch.Generator,
                   entropy_bonus: float) -> tuple[Tensor, float, float]:
    """(loss, mean reward, mean entropy in nats). Its gradient is -grad J for the actor, and that of
    mean (b - r)^2 for the critic.

    x (R, D) contexts; draw(actions (R,)) gives their rewards (R,), to which b(x) is fitted.
    """
    # assignment 4
    logp = bandit(x)                                                                    # (R, S)
    action = torch.multinomial(logp.exp(), 1, generator=generator).squeeze(1)           # (R,)
    reward = draw(action)
    baseline = bandit.critic(x).squeeze(1)
    advantage = (reward - baseline).detach()
    policy = -(advantage * logp.gather(1, action[:, None]).squeeze(1)).mean()
    entropy = -(logp.exp() * logp).sum(1).mean()
    value = (baseline - reward).pow(2).mean()
    return policy - entropy_bonus * entropy + value, reward.mean().item(), entropy.item()


def optimizer_step(optimizer: torch.optim.Optimizer, net: nn.Module, loss: Tensor) -> Tensor:
    """One step down the loss; the gradient's norm before it was clipped."""
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), GRAD_NORM)
    optimizer.step()
    return norm


def train_softmax(x: Tensor, pull: Pull, arms: int, steps: int = 1500, batch: int = 256,
                  lr: float = LR, entropy_bonus: float = ENTROPY, seed: int = 0,
                  progress: Progress | None = None) -> SoftmaxBandit:
    """x (X, D) contexts; pull(rows of x (R,), actions (R,), generator) -> rewards (R,) of 0/1.

    Steps, batch and lr: prototype. Entropy bonus .1 (ours): with the prototype's .02, an arm that
    pays in few contexts, such as greedy, may be dropped before those contexts are told apart; one
    seed of two lost 11 points at T = 44 that way.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bandit = SoftmaxBandit(x.shape[1], arms)
    optimizer = torch.optim.Adam(bandit.parameters(), lr=lr, fused=True)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,), generator=generator)
        loss, reward, entropy = reinforce_loss(
            bandit, x[rows], lambda a: pull(rows, a, generator), generator, entropy_bonus)
        norm = optimizer_step(optimizer, bandit, loss)
        if progress:
            progress(step=step, reward=reward, entropy=entropy, grad_norm=norm.item())
    return bandit


# ---- 3. LinUCB ----------------------------------------------------------------------------------
class LinUCB(nn.Module):
    """One ridge regression an arm, and optimism about what it has not seen.

        A_s = I + sum x x^T      b_s = sum r x      theta_s = A_s^-1 b_s
        with probability 1 - delta:  |theta_s . x - E[r|x, s]| <= alpha sqrt(x . A_s^-1 x),
        alpha = 1 + sqrt(ln(2 / delta) / 2), if E[r|x, s] is linear in x        (Li et al. 2010)
    """

    def __init__(self, inputs: int, arms: int, alpha: float = ALPHA):
        super().__init__()
        self.inverse: Tensor
        self.b: Tensor
        self.alpha = alpha
        identity = torch.eye(inputs, dtype=torch.float64)    # fp64: thousands of rank-1 updates
        self.register_buffer("inverse", identity.repeat(arms, 1, 1))                # A^-1 (S, D, D)
        self.register_buffer("b", torch.zeros(arms, inputs, dtype=torch.float64))       # (S, D)

    @property
    def theta(self) -> Tensor:
        return torch.einsum("sij,sj->si", self.inverse, self.b)                         # (S, D)

    def forward(self, x: Tensor) -> Tensor:
        """Estimated reward (R, S) at contexts x (R, D)."""
        return x.double() @ self.theta.T

    def width(self, x: Tensor) -> Tensor:
        """Of the confidence interval, (R, S): alpha sqrt(x . A_s^-1 x)."""
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
        v = self.inverse[action] @ x
        self.inverse[action] -= torch.outer(v, v) / (1 + x @ v)
        self.b[action] += reward * x


def train_linucb(x: Tensor, pull: Pull, arms: int, steps: int = 500, batch: int = 16,
                 alpha: float = ALPHA, seed: int = 0, progress: Progress | None = None,
                 kind: type["LinUCB"] = LinUCB) -> LinUCB:
    """Online, in batches of 16 (ours: a batch is chosen together, which is 10 times faster).

    x and pull as in `train_softmax`. kind: LinUCB, or a class of it that chooses otherwise.
    """
    generator, bandit = torch.Generator().manual_seed(seed), kind(x.shape[1], arms, alpha)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,), generator=generator)
        actions = bandit.choose(x[rows])
        rewards = pull(rows, actions, generator)
        for row, action, reward in zip(rows, actions, rewards):
            bandit.update(x[row], int(action), float(reward))
        if progress:
            progress(step=step, reward=rewards.mean().item())
    return bandit


# ---- either of them, trained --------------------------------------------------------------------
@torch.no_grad()
def best_arm(bandit: nn.Module, e: Tensor, B: int, T: int, horizon: int,
             parts: Sequence[str]) -> Tensor:
    """The arm (R,) at prompts e (R, d), budgets B and T: its most likely, or best estimated."""
    ones = torch.ones(len(e))
    return bandit(context(e, B * ones, T * ones, horizon, parts)).argmax(1)

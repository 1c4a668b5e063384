"""Token level: a policy that picks a temperature before every token, trained by PPO.

    python -m demos.ppo_toy      # PPO against the exact optimum of a small problem; 6 seconds
    python train.py      # trains it after the bandits

    observation   o_t = [h_t; e; f(p_t); b_t]        hidden state, prompt, distribution, tokens left
    action     a_t in {greedy, T = .5, 1, 1.25}    over the sequence-level strategy, if there is one
    reward        r in {0, 1} at the end only; running out of tokens is the end

Tokens with p_max > .95 are no decisions (paper). The rest, i = 1 .. F, are the steps of the
process. Generalised advantage estimation (Schulman et al. 2016) for a reward at the end only,
gamma = 1. Looking n steps ahead, no reward has come yet, so the estimate is

    A_i(n) = V_{i+n} - V_i,   and r - V_i once i + n > F: the same formula with V_{F+1} = r

GAE is their mean under falling weights, (1 - lambda) lambda^(n-1). Each A_i(n) is a sum of single
steps delta_j = V_{j+1} - V_j, and delta_{i+l} stands in all those with n > l, whose weights add up
to lambda^l:

    A_i = sum_l lambda^l delta_{i+l},    lambda = 1: A_i = r - V_i;    lambda = 0: A_i = delta_i

Proximal policy optimisation, PPO (Schulman et al. 2017), with rho = pi(a|o) / pi_old(a|o), A'
normalised to mean 0 and deviation 1 in each minibatch, and the critic's target G = A + V_old:

    L = mean[-min(rho A', clip(rho, 1 - eps, 1 + eps) A') + (V - G)^2 / 2 - c H(pi)]

REINFORCE (Williams 1992), the paper's choice, on the same episodes, with b their mean reward:

    L = mean[-(r - b) log pi(a|o) - c H(pi)]

M decisions a minibatch, m of them in this process (distributed.py), A = 4 actions in shapes, D inputs,
E episodes. With several processes, F and E count those of all, in rank order.

Deviations from the paper: (1) PPO instead of REINFORCE, which stands beside it for comparison.
(2) Where p_max > .95 the policy does not act: the token is greedy, so that an untrained choice
cannot spoil a sure token. (3) One policy for all token budgets: every row of a batch draws its own.
"""
from functools import partial
from typing import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bandit import mlp, optimizer_step
from batch import State
from decode import Choice, Episode, Policy, Strategy, has_filters, sample
from features import P_MAX_COLUMN, OBSERVATION_PARTS, distribution, observation_size, observe, steps
from utils.profiling import clock

TEMPERATURES = (0.0, 0.5, 1.0, 1.25)          # paper; 0 is greedy
DECISION_P_MAX = 0.95                                   # paper
CLIP, LAMBDA, EPOCHS = 0.2, 0.95, 4           # prototype
MINIBATCH = 256        # ours: the prototype's 1,024 reaches 91 % of the rule in place of 96 %


def action_names(temperatures: Sequence[float]) -> list[str]:
    """Of the actions, for people."""
    return ["greedy" if t == 0 else f"T = {t:g}" for t in temperatures]


class TokenPolicy(nn.Module):
    """Actor and critic, separate 3-layer MLPs of width 128 (prototype), on `observe(...)`."""

    def __init__(self, d: int, horizon: int, parts: Sequence[str] = OBSERVATION_PARTS, width: int = 128):
        """d: the LM's hidden size. horizon: the largest token budget. parts: of the observation."""
        super().__init__()
        self.thresholds: Tensor
        self.strategies: Tensor
        self.horizon, self.parts, self.width = horizon, tuple(parts), width
        # b_t is a whole number, and its soft thresholds a table: five operations fewer a step.
        table = steps(torch.arange(horizon + 1), horizon)                             # (T + 1, 14)
        self.register_buffer("thresholds", table, persistent=False)
        # The strategy of each action; the last, action -1, is for rows in which the policy is off.
        actions = torch.tensor([Strategy(T) for T in (*TEMPERATURES, 1.0)])             # (A + 1, 4)
        self.register_buffer("strategies", actions, persistent=False)
        self.inputs = observation_size(d, self.parts)
        self.actor = mlp(self.inputs, width, len(TEMPERATURES))
        self.critic = mlp(self.inputs, width, 1)

    def observation(self, h: Tensor, e: Tensor, dist: Tensor, left: Tensor) -> Tensor:
        """(R, D); tokens left (R,) beyond the horizon count as the horizon."""
        return observe(h, e, dist, self.thresholds[left.clamp(max=self.horizon)], self.parts)

    def forward(self, state: State, explore: bool = False, base: Tensor | None = None,
                active: Tensor | None = None, filters: bool = False) -> Choice:
        """The policy, as `rollout` calls it before every token: p_max > .95 is greedy, the rest its.

        explore: sample the action instead of its arg-max. base, active, filters: see `over`.
        """
        acts = state.tokens_left > 0                                                        # (R,)
        if active is not None:
            acts = acts & active[state.row]
        with clock("features"):
            dist = distribution(state.logits)
            f = (acts & (dist[:, P_MAX_COLUMN] <= DECISION_P_MAX)).nonzero().squeeze(1)         # (F,)
            h, dist = state.h[f], dist[f]
            obs = self.observation(h, state.e[f], dist, state.tokens_left[f])               # (F, D)
        logp_all = self.actor(obs).log_softmax(-1)                                          # (F, A)
        chosen = sample(logp_all.exp(), state.uniform(1)[f]) if explore else logp_all.argmax(1)
        # -1 where the policy is off, 0 (greedy) where p_max > .95, the chosen one at decisions.
        action = torch.where(acts, 0, -1).index_copy(0, f, chosen)
        if base is None:
            strategies = self.strategies[action]                                            # (R, 4)
        else:
            strategies = base.expand(len(action), -1) if len(base) == 1 else base[state.row]
            temperature = torch.where(acts, self.strategies[action, 0], strategies[:, 0])
            strategies = torch.cat([temperature[:, None], strategies[:, 1:]], 1)
        return Choice(strategies, filters, action, f, logp_all.gather(1, chosen[:, None]).squeeze(1),
                      h, dist)

    def over(self, base: Tensor, active: Tensor | None = None) -> Policy:
        """The policy over the sequence level's strategies: it replaces their temperature alone.

        base (rows, 4), or (1, 4) for all rows: top-k, top-p and min-p stay. active (rows,) bool:
        where False, the base is used as it is.
        """
        device = self.strategies.device
        return partial(self, base=base.to(device), filters=has_filters(base),
                       active=None if active is None else active.to(device))


def gae(values: Tensor, lengths: list[int], rewards: Tensor, lam: float = LAMBDA) -> Tensor:
    """Advantages (F,) of the decisions of E episodes laid end to end; values (F,), rewards (E,).

    A_i = delta_i + lambda A_{i+1}, from each episode's end to its beginning.
    """
    # assignment 7
    V, advantage, end = values.tolist(), [0.0] * len(values), 0
    for length, reward in zip(lengths, rewards.tolist()):
        start, end = end, end + length
        following, A = reward, 0.0                                                  # V_{F+1} = r
        for i in reversed(range(start, end)):
            delta = following - V[i]
            A = delta + lam * A
            advantage[i], following = A, V[i]
    return torch.tensor(advantage)


def ppo_loss(policy: TokenPolicy, obs: Tensor, action: Tensor, old_logp: Tensor, advantage: Tensor,
             target: Tensor, entropy_bonus: float) -> tuple[Tensor, dict[str, Tensor]]:
    """(L on a minibatch, its diagnostics).

    obs (M, D), action, old_logp, advantage, target (M,); advantages come normalised (prototype).
    The gradient at rho = 1 is REINFORCE's.
    """
    logp_all = policy.actor(obs).log_softmax(-1)                                     # (M, A)
    logp = logp_all.gather(1, action[:, None]).squeeze(1)
    # assignment 8
    ratio = (logp - old_logp).exp()
    near = ratio.clamp(1 - CLIP, 1 + CLIP)
    surrogate = torch.min(ratio * advantage, near * advantage).sum() / len(obs)
    entropy = -(logp_all.exp() * logp_all).sum() / len(obs)
    value_loss = 0.5 * (policy.critic(obs).squeeze(1) - target).pow(2).sum() / len(obs)
    with torch.no_grad():
        kl = (ratio - 1 - ratio.log()).sum() / len(obs)        # http://joschu.net/blog/kl-approx
        clipped = ((ratio - 1).abs() > CLIP).float().sum() / len(obs)
    return (value_loss - surrogate - entropy_bonus * entropy,
            {"entropy": entropy.detach(), "kl": kl, "clipped": clipped})


def reinforce_loss(policy: TokenPolicy, obs: Tensor, action: Tensor, advantage: Tensor,
                   entropy_bonus: float) -> tuple[Tensor, dict[str, Tensor]]:
    """(REINFORCE's L on a minibatch, its diagnostics); shapes as in `ppo_loss`."""
    logp_all = policy.actor(obs).log_softmax(-1)                                     # (M, A)
    logp = logp_all.gather(1, action[:, None]).squeeze(1)
    entropy = -(logp_all.exp() * logp_all).sum() / len(obs)
    loss = -(advantage * logp).sum() / len(obs) - entropy_bonus * entropy
    return loss, {"entropy": entropy.detach()}


def flatten(policy: TokenPolicy, episodes: list[Episode]) -> tuple[Tensor, Tensor, Tensor]:
    """Observations (F, D), actions and behaviour log-probabilities (F,) of all their decisions."""
    e = torch.cat([x.e.expand(len(x.decision_steps), -1) for x in episodes])
    obs = policy.observation(torch.cat([x.h for x in episodes]), e,
                             torch.cat([x.distribution for x in episodes]),
                             torch.cat([x.tokens_left for x in episodes]))
    action = torch.cat([x.action[x.decision_steps] for x in episodes]).long()
    return obs, action, torch.cat([x.logp for x in episodes])


def action_shares(action: Tensor) -> dict:
    """How often each temperature was chosen."""
    counts = action.bincount(minlength=len(TEMPERATURES))
    return {f"share_T{t:g}": float(s) for t, s in zip(TEMPERATURES, counts / len(action))}


def ppo_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode], seed: int,
               entropy_bonus: float) -> dict:
    """One PPO iteration on sampled episodes with rewards; returns the diagnostics of a CSV line."""
    episodes = [x for x in episodes if len(x.decision_steps)]  # no decision, nothing to learn from
    if not episodes:
        return {"decisions": 0}
    device = next(policy.parameters()).device
    obs, action, old_logp = (x.to(device) for x in flatten(policy, episodes))                 # F
    lengths = torch.tensor([len(x.decision_steps) for x in episodes])                         # (E,)
    rewards = torch.tensor([x.reward for x in episodes])                                      # (E,)
    with torch.no_grad():
        values = policy.critic(obs).squeeze(1).cpu()                                          # (F,)
    advantage = gae(values, lengths.tolist(), rewards)                                        # (F,)
    target = (advantage + values).to(device)                                                  # (F,)
    returns = rewards.repeat_interleave(lengths)
    explained = 1 - (returns - values).var() / returns.var().clamp(min=1e-8)
    generator, logs = torch.Generator().manual_seed(seed), []
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(values), generator=generator).split(MINIBATCH):
            a = advantage[rows]
            a = (a - a.mean()) / (a.std(correction=0) + 1e-8)                                 # (M,)
            a, rows = a.to(device), rows.to(device)
            loss, log = ppo_loss(policy, obs[rows], action[rows], old_logp[rows], a, target[rows],
                                 entropy_bonus)
            log["grad_norm"] = optimizer_step(optimizer, policy, loss)
            logs.append(torch.stack(list(log.values())))       # on the device: nothing waits
    mean = dict(zip(log, torch.stack(logs).mean(0).tolist()))
    return {"decisions": len(values), "explained_variance": float(explained), **mean,
            **action_shares(action)}


def reinforce_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode],
                     seed: int, entropy_bonus: float) -> dict:
    """One REINFORCE iteration: one pass, since a second one would need PPO's ratio.

    b is the mean reward of all episodes with a decision; the critic is unused. Otherwise as
    `ppo_update`.
    """
    episodes = [x for x in episodes if len(x.decision_steps)]
    if not episodes:
        return {"decisions": 0}
    device = next(policy.parameters()).device
    obs, action, _ = (x.to(device) for x in flatten(policy, episodes))
    lengths = torch.tensor([len(x.decision_steps) for x in episodes])
    rewards = torch.tensor([x.reward for x in episodes], dtype=torch.float)
    advantage = (rewards - rewards.mean()).repeat_interleave(lengths).to(device)              # (F,)
    generator, logs = torch.Generator().manual_seed(seed), []
    for rows in torch.randperm(len(obs), generator=generator).split(MINIBATCH):
        rows = rows.to(device)
        loss, log = reinforce_loss(policy, obs[rows], action[rows], advantage[rows], entropy_bonus)
        log["grad_norm"] = optimizer_step(optimizer, policy.actor, loss)
        logs.append(torch.stack(list(log.values())))
    mean = dict(zip(log, torch.stack(logs).mean(0).tolist()))
    return {"decisions": len(obs), **mean, **action_shares(action)}

"""Token level: a policy that picks a temperature before every token, trained by PPO.

    python -m demos.ppo_toy      # PPO against the exact optimum of a small problem; 6 seconds
    python train.py              # trains the token level after the bandits

One episode is one completion. It ends with an end token or when its tokens run out, which is an end
like any other: nothing is bootstrapped, and the cut completion is graded as it stands. The reward,
0 or 1, comes at the end only. Where the LM has p_max > .95 there is nothing to decide, and the
token is greedy. The other tokens, i = 1 .. F, are the steps of the decision process. Its state is
the problem, its answer and the text so far; the policy sees o_i alone: a POMDP.

| symbol | meaning | shape |
|---|---|---|
| o_i | observation [h_t; e; f(p_t); b_t] of features.py | (F, D) |
| a_i | action, one of A = 4: greedy or a temperature, in place of the strategy's own one | (F,) |
| v_i | the critic's value of o_i, an estimate of the reward to come | (F,) |
| A_i | advantage: how much better a_i was than v_i; A'_i: normalised in its minibatch | (F,) |
| G_i | the critic's target: A_i + v_i, from the values before the update | (F,) |
| rho_i | probability ratio pi(a_i|o_i) / pi_old(a_i|o_i) | (F,) |
| gamma | discount, 1: within its budget a right answer is worth the same early or late | |
| lambda | .95: near 0 the advantage has the critic's bias, near 1 the reward's variance | |
| epsilon | .2 (CLIP): beyond 1 +- epsilon, a change of rho is no longer rewarded | |
| entropy_bonus | weight of the policy's entropy H(pi) | |

1. Generalised advantage estimation, GAE (Schulman et al. 2016). How much better did it get?
       after one decision     delta_i = gamma v_{i+1} - v_i      (gamma = 1, and v_{F+1} = r)
       after two decisions    v_{i+2} - v_i = delta_i + delta_{i+1}
       at the end             r - v_i = delta_i + .. + delta_F
   GAE averages these estimates. The one after m + 1 decisions has the weight (1 - lambda) lambda^m,
   and the last one, r - v_i, what is left of 1. delta_{i+l} is part of all estimates from m = l on,
   whose weights sum to lambda^l:
       A_i = sum_l lambda^l delta_{i+l} = delta_i + lambda A_{i+1}
2. Proximal policy optimisation (Schulman et al. 2017), means over a minibatch of M decisions:
       L = mean[-min(rho A', clip(rho, 1 - epsilon, 1 + epsilon) A')]
           + mean[(value(o) - G)^2] / 2 - entropy_bonus mean[H(pi)]
3. REINFORCE (Williams 1992), the paper's choice, on the same episodes, one epoch. The baseline is
   the mean reward of the episodes that have decisions:
       L = mean[-(r - baseline) log pi(a|o)] - entropy_bonus mean[H(pi)]

Shapes: E episodes, R rows that decode, d the LM's hidden size, D inputs, A actions.

Deviations from the paper: (1) PPO instead of REINFORCE, which is here too for comparison. (2) The
paper leaves tokens with p_max > .95 out of training; here they are greedy as well, so that an
untrained policy cannot spoil them. (3) One policy serves all token budgets: every row of a batch
has a budget of its own.
"""
from dataclasses import replace
from typing import NamedTuple, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bandit import mlp, optimizer_step
from batch import State
from decode import (Choice, Episode, Policy, Strategy, check_strategies, has_filters, of_rows,
                    sample)
from features import (OBSERVATION_PARTS, P_MAX_COLUMN, distribution_features, observation_size,
                      observe, soft_thresholds)
from utils.profiling import clock

TEMPERATURES = (0.0, 0.5, 1.0, 1.25)   # of the actions; 0 is greedy (paper)
DECISION_P_MAX = 0.95                  # the policy decides up to this p_max (paper)
CLIP = 0.2                             # epsilon (prototype)
LAMBDA = 0.95                          # (prototype)
EPOCHS = 4                             # passes over an iteration's decisions (prototype)
MINIBATCH = 256        # M (ours: at 1,024, the prototype's, the policy reaches 91 % of the scripted
#                        oracle's Pass@1 at the largest budget, at 256 96 %)
GREEDY_ACTION = 0                      # of TEMPERATURES
NO_ACTION = -1


def action_names(temperatures: Sequence[float]) -> list[str]:
    """The actions' names for people, such as "greedy" and "tau = 0.5"."""
    return ["greedy" if t == 0 else f"tau = {t:g}" for t in temperatures]


# ---- the policy ---------------------------------------------------------------------------------
class TokenPolicy(nn.Module):
    """Actor and critic, separate 3-layer MLPs on observations; width 128 (prototype)."""

    def __init__(self, d: int, horizon: int, parts: Sequence[str] = OBSERVATION_PARTS,
                 width: int = 128, top_k: int = 0):
        """d: the LM's hidden size. horizon: the largest token budget. parts: of the observation.

        top_k: under every action; 0 is none. (Ours: of 151,000 tokens, those of the tail together
        are drawn often at a temperature of 2. At 1.25 they are not.)
        """
        super().__init__()
        self.horizon = horizon
        self.parts = tuple(parts)
        self.width = width
        self.top_k = top_k
        inputs = observation_size(d, self.parts)
        self.actor = mlp(inputs, width, len(TEMPERATURES))
        self.critic = mlp(inputs, width, 1)

        # b_t is a whole number, so its soft thresholds are looked up: that saves five operations
        self.thresholds: Tensor                                                # (horizon + 1, 14)
        thresholds = soft_thresholds(torch.arange(horizon + 1), horizon)
        self.register_buffer("thresholds", thresholds, persistent=False)

        # The strategy of each action; behind them, where the index -1 finds it, any for NO_ACTION
        self.strategies: Tensor                                                # (A + 1, 4)
        strategies = [Strategy(temperature, top_k) for temperature in (*TEMPERATURES, 1.0)]
        self.register_buffer("strategies", torch.tensor(strategies), persistent=False)

    def observation(self, h: Tensor, e: Tensor, dist: Tensor, tokens_left: Tensor) -> Tensor:
        """o (R, D) from h and e (R, d), f(p) (R, 4), b_t (R,), which counts up to the horizon."""
        thresholds_left = self.thresholds[tokens_left.clamp(max=self.horizon)]
        return observe(h, e, dist, thresholds_left, self.parts)

    def forward(self, state: State, explore: bool = False, active: Tensor | None = None) -> Choice:
        """The policy as `rollout` calls it before every token.

        explore: sample the actions; otherwise take the most likely ones. Rollouts for training use
        partial(policy, explore=True). active (R,) bool: the rows that it acts in; None: all.

        | row | action | temperature |
        |---|---|---|
        | a decision: p_max <= .95 | what the actor chooses, 0 .. A - 1 | that of the action |
        | p_max > .95 | GREEDY_ACTION, 0 | 0 |
        | not active, or ended | NO_ACTION, -1 | 1, which nobody reads: `over` puts its own there |
        """
        acts = state.tokens_left > 0                                           # (R,)
        if active is not None:
            acts = acts & active

        # The F rows in which there is something to decide, and what the actor sees of them
        with clock("features"):
            dist = distribution_features(state.logits)                         # (R, 4)
            decides = acts & (dist[:, P_MAX_COLUMN] <= DECISION_P_MAX)         # (R,)
            rows = decides.nonzero().squeeze(1)                                # (F,)
            h = state.h[rows]
            dist = dist[rows]
            obs = self.observation(h, state.e[rows], dist, state.tokens_left[rows])     # (F, D)

        # Choose an action in each of them
        logp_all = self.actor(obs).log_softmax(-1)                             # (F, A)
        chosen = sample(logp_all.exp(), state.uniform(1)[rows]) if explore else logp_all.argmax(1)
        logp = logp_all.gather(1, chosen[:, None]).squeeze(1)                  # (F,)

        # The action of every row, and the strategy that it stands for
        action = torch.where(acts, GREEDY_ACTION, NO_ACTION)                   # (R,)
        action = action.index_copy(0, rows, chosen)
        strategies = self.strategies[action]                                   # (R, 4)
        return Choice(strategies, filters=self.top_k > 0, action=action, decision_rows=rows,
                      logp=logp, h=h, distribution=dist)

    def over(self, base: Tensor, active: Tensor | None = None) -> Policy:
        """The policy over the sequence level's strategies: it replaces their temperatures alone.

        base (rows, 4), or (1, 4) for all rows. active (rows,) bool: False leaves the base as it is,
        for prompts that the bandit over both levels does not hand to this policy.
        """
        check_strategies(base)
        filters = has_filters(base)
        base = base.to(self.strategies.device)
        if active is not None:
            active = active.to(self.strategies.device)

        def policy(state: State) -> Choice:
            choice = self(state, active=None if active is None else active[state.row])
            own = of_rows(base, state.row)                                     # (R, 4)
            acts = choice.action != NO_ACTION
            temperature = torch.where(acts, choice.strategies[:, 0], own[:, 0])
            strategies = torch.cat([temperature[:, None], own[:, 1:]], dim=1)
            return replace(choice, strategies=strategies, filters=filters)

        return policy


# ---- the decisions of some episodes -------------------------------------------------------------
class Decisions(NamedTuple):
    """The F decisions of E episodes, laid end to end; on the policy's device where not said."""
    obs: Tensor              # (F, D)
    action: Tensor           # (F,)
    old_logp: Tensor         # (F,) log pi_old(a|o), noted while sampling
    lengths: Tensor          # (E,) decisions of each episode, on the CPU
    rewards: Tensor          # (E,) on the CPU


def with_decisions(episodes: list[Episode]) -> list[Episode]:
    """Those with at least one decision: from the others there is nothing to learn."""
    return [x for x in episodes if len(x.decision_steps) > 0]


def flatten(policy: TokenPolicy, episodes: list[Episode]) -> Decisions:
    """The decisions of episodes that all have some."""
    # What the policy saw before each decision; e is the same in all of an episode
    device = policy.strategies.device
    e = torch.cat([x.e.expand(len(x.decision_steps), -1) for x in episodes])              # (F, d)
    h = torch.cat([x.h for x in episodes])                                                # (F, d)
    dist = torch.cat([x.distribution for x in episodes])                                  # (F, 4)
    tokens_left = torch.cat([x.tokens_left for x in episodes])                            # (F,)
    obs = policy.observation(h.to(device), e.to(device), dist.to(device), tokens_left.to(device))
    action = torch.cat([x.action[x.decision_steps] for x in episodes]).long()
    old_logp = torch.cat([x.logp for x in episodes])
    lengths = torch.tensor([len(x.decision_steps) for x in episodes])
    rewards = torch.tensor([x.reward for x in episodes], dtype=torch.float)
    return Decisions(obs, action.to(device), old_logp.to(device), lengths, rewards)


# ---- diagnostics: the columns of metrics.csv ----------------------------------------------------
def action_shares(action: Tensor) -> dict[str, float]:
    """How often each temperature was chosen."""
    counts = action.bincount(minlength=len(TEMPERATURES))
    shares = (counts / len(action)).tolist()
    return {f"share_tau{t:g}": share for t, share in zip(TEMPERATURES, shares)}


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var[returns - values] / Var[returns]; 0 for a single decision, which has no variance."""
    if len(values) < 2:
        return 0.0
    return float(1 - (returns - values).var() / returns.var().clamp(min=1e-8))


def mean_log(logs: list[dict[str, Tensor]]) -> dict[str, float]:
    """The mean of every diagnostic over the minibatches; the device is asked for them once."""
    table = torch.stack([torch.stack(list(log.values())) for log in logs])
    return dict(zip(logs[0], table.mean(0).tolist()))


# ---- PPO ----------------------------------------------------------------------------------------
def gae(values: Tensor, lengths: list[int], rewards: Tensor, lam: float = LAMBDA) -> Tensor:
    """Advantages (F,) of the decisions of E episodes laid end to end; values (F,), rewards (E,).

    A_i = delta_i + lambda A_{i+1}, delta_i = v_{i+1} - v_i, from each episode's end to its start.
    """
    # assignment 7
    v = values.tolist()
    advantage = [0.0] * len(v)
    end = 0
    for length, reward in zip(lengths, rewards.tolist()):
        start = end
        end = start + length
        next_value = reward                                                    # v_{F+1} = r
        next_advantage = 0.0
        for i in reversed(range(start, end)):
            delta = next_value - v[i]
            advantage[i] = delta + lam * next_advantage
            next_value = v[i]
            next_advantage = advantage[i]
    return torch.tensor(advantage)


def ppo_loss(policy: TokenPolicy, obs: Tensor, action: Tensor, old_logp: Tensor, advantage: Tensor,
             target: Tensor, entropy_bonus: float) -> tuple[Tensor, dict[str, Tensor]]:
    """(L of a minibatch, its diagnostics). At rho = 1 the surrogate has REINFORCE's gradient.

    obs (M, D), action, old_logp, advantage, target (M,); the advantages are normalised already.
    """
    # How likely the policy would now take the actions that were taken
    logp_all = policy.actor(obs).log_softmax(-1)                               # (M, A)
    logp = logp_all.gather(1, action[:, None]).squeeze(1)                      # (M,)
    # assignment 8
    # The clipped surrogate: no gain from a ratio beyond 1 +- epsilon
    ratio = (logp - old_logp).exp()                                            # rho (M,)
    clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
    surrogate = torch.min(ratio * advantage, clipped * advantage).mean()

    # The entropy bonus keeps all actions in play; the critic is a regression on its target
    entropy = -(logp_all.exp() * logp_all).sum(1).mean()
    value_loss = 0.5 * (policy.critic(obs).squeeze(1) - target).pow(2).mean()
    loss = value_loss - surrogate - entropy_bonus * entropy
    with torch.no_grad():
        kl = (ratio - 1 - ratio.log()).mean()             # http://joschu.net/blog/kl-approx.html
        share_clipped = ((ratio - 1).abs() > CLIP).float().mean()
    return loss, {"entropy": entropy.detach(), "kl": kl, "clipped": share_clipped}


def ppo_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode], seed: int,
               entropy_bonus: float) -> dict:
    """One PPO iteration on sampled episodes with rewards; returns the diagnostics of a CSV line."""
    # Collect the decisions of all episodes
    episodes = with_decisions(episodes)
    if not episodes:
        return {"decisions": 0}
    obs, action, old_logp, lengths, rewards = flatten(policy, episodes)

    # Values before the update, advantages, and what the critic shall learn to predict
    with torch.no_grad():
        values = policy.critic(obs).squeeze(1).cpu()                           # v (F,)
    advantage = gae(values, lengths.tolist(), rewards)                         # A (F,)
    target = (advantage + values).to(obs.device)                               # G (F,)
    returns = rewards.repeat_interleave(lengths)                               # r (F,)

    # EPOCHS passes over all decisions, in minibatches in random order
    generator = torch.Generator().manual_seed(seed)
    logs = []
    for _ in range(EPOCHS):
        order = torch.randperm(len(obs), generator=generator)
        for rows in order.split(MINIBATCH):
            # Normalise the advantages within the minibatch
            a = advantage[rows]
            a = (a - a.mean()) / (a.std(correction=0) + 1e-8)                  # A' (M,)
            a = a.to(obs.device)
            rows = rows.to(obs.device)
            loss, log = ppo_loss(policy, obs[rows], action[rows], old_logp[rows], a, target[rows],
                                 entropy_bonus)
            log["grad_norm"] = optimizer_step(optimizer, policy, loss)
            logs.append(log)
    return {"decisions": len(obs), "explained_variance": explained_variance(values, returns),
            **mean_log(logs), **action_shares(action)}


# ---- REINFORCE ----------------------------------------------------------------------------------
def reinforce_loss(policy: TokenPolicy, obs: Tensor, action: Tensor, advantage: Tensor,
                   entropy_bonus: float) -> tuple[Tensor, dict[str, Tensor]]:
    """(REINFORCE's L of a minibatch, its diagnostics); shapes as in `ppo_loss`."""
    logp_all = policy.actor(obs).log_softmax(-1)                               # (M, A)
    logp = logp_all.gather(1, action[:, None]).squeeze(1)                      # (M,)
    entropy = -(logp_all.exp() * logp_all).sum(1).mean()
    loss = -(advantage * logp).mean() - entropy_bonus * entropy
    return loss, {"entropy": entropy.detach()}


def reinforce_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode],
                     seed: int, entropy_bonus: float) -> dict:
    """One REINFORCE iteration: PPO's loop with one epoch, since a second one would need the ratio.

    The baseline is the mean reward of all episodes with a decision; the critic is not used.
    """
    episodes = with_decisions(episodes)
    if not episodes:
        return {"decisions": 0}
    obs, action, _, lengths, rewards = flatten(policy, episodes)
    advantage = (rewards - rewards.mean()).repeat_interleave(lengths)          # (F,)

    logs = []
    order = torch.randperm(len(obs), generator=torch.Generator().manual_seed(seed))
    for rows in order.split(MINIBATCH):
        a = advantage[rows].to(obs.device)
        rows = rows.to(obs.device)
        loss, log = reinforce_loss(policy, obs[rows], action[rows], a, entropy_bonus)
        log["grad_norm"] = optimizer_step(optimizer, policy.actor, loss)
        logs.append(log)
    return {"decisions": len(obs), **mean_log(logs), **action_shares(action)}

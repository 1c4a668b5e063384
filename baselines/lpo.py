"""Rivals of the adapters: other published ways to set the temperature, on the same LM and sampler.

    python -m demos.edt_temperatures                                              # EDT's temperatures; 4 seconds

LPO, Latent Preference Optimization (Dhuliawala et al. 2024): the choice, an arm or a temperature a
token, is a latent variable that a policy draws. Of two texts for a prompt the right one's choice
is preferred to the wrong one's; their form "temperatures as tokens, separate", without a reference:

    L = -mean log sigmoid(beta (log pi(s+) - log pi(s-)))

Deviations: (1) every right text of a prompt makes a pair with a wrong one; theirs is the best
against the worst of n. (2) Pairs come from the policy as it learns, not once before. (3) Sequence
level: the two arms differ; one arm twice has no gradient. (4) Token level: log pi of a text is the
mean over its decisions; theirs is the sum, in which a longer text loses by its length alone.
(5) Tokens with p_max > .95 are no decisions, as in pomdp.py. (6) beta is ours.

EDT (Zhang et al. 2024): no training, a temperature from the entropy H of the next-token
distribution, T0 and theta tuned on training problems:

    T = T0 0.8^(theta / H)

AutoDeco stands in autodeco.py; what it reads and when it trains is here.

Shapes: R rows, S arms, X contexts, K pairs; E episodes, F decisions, as in pomdp.py.
"""
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.optim import Optimizer

from bandit import LR, Progress, Pull, SoftmaxBandit, optimizer_step
from decode import Episode
from experiment.registry import BANDITS, TOKEN_LEARNERS, BanditLearner
from pomdp import TokenPolicy, action_shares, flatten

BETA = 0.1              # LPO's arms (ours: DPO's usual one; see `train_lpo`)
# LPO's mean over a text's decisions, and pairs a minibatch. Ours: 40 iterations on the embedded LM,
# one training each, end at T = 18 with .31, .35, .39, .40, .41 for beta .1, 1, 2, 5, 10; 32 pairs
# with .26 (beta 1). 8 make about as many steps an iteration as PPO.
TOKEN_BETA, PAIRS = 5.0, 8


# ---- LPO ----------------------------------------------------------------------------------------
def lpo_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """(K,) of K pairs' log pi, (K,) both."""
    return -logsigmoid(beta * (chosen - rejected))


def two_arms(logp: Tensor, generator: torch.Generator) -> Tensor:
    """Two different arms (R, 2) a row, drawn one after the other from log pi (R, S), S > 1.

    The largest of log pi + Gumbel noise are such draws (Kool et al. 2019), also where pi is ~ 0.
    """
    noise = -torch.rand(logp.shape, generator=generator).log()
    return (logp - noise.log()).topk(2).indices


def train_lpo(x: Tensor, pull: Pull, arms: int, steps: int = 1500, batch: int = 256, lr: float = LR,
              seed: int = 0, progress: Progress | None = None) -> SoftmaxBandit:
    """As `bandit.train_softmax`, two pulls a context. Arms come from the policy itself, as in LPO:
    what it does not choose any more costs no pulls.

    Where arm s is right with probability p_s, two arms' pairs balance at beta log(pi_s / pi_s') =
    logit p_s - logit p_s', so pi tends to odds(p)^(1 / beta): beta 1 would leave .6 against .5 at
    60 to 40, and .1 ends at 98 to 2.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bandit = SoftmaxBandit(x.shape[1], arms)
    optimizer = torch.optim.Adam(bandit.actor.parameters(), lr=lr, fused=True)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,), generator=generator)
        logp = bandit(x[rows])                                                          # (R, S)
        pair = two_arms(logp.detach(), generator)                                       # (R, 2)
        reward = torch.stack([pull(rows, a, generator) for a in pair.unbind(1)], 1)     # (R, 2)
        differ = reward[:, 0] != reward[:, 1]
        ranked = pair.gather(1, reward.argsort(1, descending=True))[differ]             # (K, 2)
        chosen, rejected = logp[differ].gather(1, ranked).unbind(1)
        loss = lpo_loss(chosen, rejected, BETA).sum() / max(len(ranked), 1)
        norm = optimizer_step(optimizer, bandit.actor, loss)
        if progress:
            progress(step=step, reward=reward.mean().item(), grad_norm=norm.item(),
                     entropy=-(logp.exp() * logp).sum(1).mean().item(),
                     pairs=differ.float().mean().item())
    return bandit


def right_and_wrong(prompts: Tensor, rewards: Tensor, generator: torch.Generator) -> Tensor:
    """Pairs (K, 2) of episodes, in random order: each right one and a wrong one of its prompt.

    prompts, rewards (E,). A prompt whose texts are all right or all wrong has no pair.
    """
    parts = [torch.zeros(0, 2, dtype=torch.long)]
    for prompt in prompts.unique():
        right = (rewards.eq(1) & (prompts == prompt)).nonzero()                         # (k, 1)
        wrong = (rewards.eq(0) & (prompts == prompt)).nonzero()
        if len(wrong):
            drawn = wrong[torch.randint(len(wrong), (len(right),), generator=generator)]
            parts.append(torch.cat([right, drawn], 1))
    pairs = torch.cat(parts)
    return pairs[torch.randperm(len(pairs), generator=generator)]


def pair_loss(policy: TokenPolicy, obs: Tensor, action: Tensor, lengths: Tensor,
              pairs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """(L of the pairs (K, 2) of episodes, its diagnostics).

    obs (F, D), action (F,): the decisions of E episodes laid end to end, lengths (E,) of them.
    """
    owner = torch.arange(len(lengths), device=obs.device).repeat_interleave(lengths)    # (F,)
    used = torch.isin(owner, pairs)
    logp = policy.actor(obs[used]).log_softmax(-1).gather(1, action[used, None]).squeeze(1)
    mean = torch.zeros(len(lengths), device=obs.device).index_add(0, owner[used], logp) / lengths
    chosen, rejected = mean[pairs].unbind(1)                                            # (K,)
    return (lpo_loss(chosen, rejected, TOKEN_BETA).sum() / len(pairs),
            {"margin": (chosen - rejected).detach().sum() / len(pairs)})


def lpo_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode],
               seed: int) -> dict:
    """One LPO iteration, one pass over the pairs; the diagnostics of a CSV line.

    As `pomdp.ppo_update`; all texts of a prompt are under one token budget.
    pairs: how many; margin: the mean log pi(s+) - log pi(s-). The critic is not used.
    """
    episodes = [x for x in episodes if len(x.decision_steps)]  # no decision, nothing to learn from
    if not episodes:
        return {"decisions": 0}
    device = next(policy.parameters()).device
    obs, action, _ = (x.to(device) for x in flatten(policy, episodes))                     # F
    lengths = torch.tensor([len(x.decision_steps) for x in episodes]).to(device)           # (E,)
    prompts = torch.tensor([x.prompt for x in episodes])                                   # (E,)
    rewards = torch.tensor([x.reward for x in episodes], dtype=torch.float)                # (E,)
    with torch.no_grad():
        logp = policy.actor(obs).log_softmax(-1)                                           # (F, A)
    entropy = float(-(logp.exp() * logp).sum()) / len(obs)
    generator = torch.Generator().manual_seed(seed)
    pairs, logs, mean = right_and_wrong(prompts, rewards, generator), [], {}               # (K, 2)
    for some in pairs.split(PAIRS) if len(pairs) else ():
        loss, log = pair_loss(policy, obs, action, lengths, some.to(device))
        log["grad_norm"] = optimizer_step(optimizer, policy.actor, loss)
        logs.append(torch.stack(list(log.values())))
    if logs:
        mean = dict(zip(log, torch.stack(logs).mean(0).tolist()))
    return {"decisions": len(obs), "pairs": len(pairs), "entropy": entropy, **mean,
            **action_shares(action)}


def token_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode], seed: int,
                 entropy_bonus: float) -> dict:
    """`lpo_update`, which has no entropy bonus."""
    return lpo_update(policy, optimizer, episodes, seed)


BANDITS["lpo"] = BanditLearner("LPO", train_lpo, "bandit_steps", only_with_baselines=True)
TOKEN_LEARNERS["lpo"] = token_update

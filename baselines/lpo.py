"""LPO, Latent Preference Optimization (Dhuliawala et al. 2024), a baseline at both levels: the
choice, an arm or a temperature for each token, is a latent variable that a policy samples. Of two
completions of a prompt, the right one's choice s+ is preferred to the wrong one's, s-. Of their
forms we take the one in which the choice is a separate head, trained without a reference policy:

    L = -mean log sigmoid(beta (log pi(s+) - log pi(s-)))

Deviations: (1) every right completion of a prompt makes a pair with a wrong one; theirs is the best
against the worst of n. (2) Pairs come from the policy while it learns, not once before. (3) The two
arms of a pair differ, since one arm twice has no gradient. (4) log pi of a completion is the mean
over its decisions; theirs is the sum, by which a longer completion loses for its length alone.
(5) Tokens with p_max > .95 are no decisions, as in pomdp.py. (6) beta is ours.
Shapes: R rows, S arms, X contexts, K pairs; E episodes, F decisions, as in pomdp.py.
"""
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.optim import Optimizer

from bandit import LR, Progress, Pull, SoftmaxBandit, optimizer_step
from decode import Episode
from experiment.registry import BANDITS, TOKEN_LEARNERS, BanditLearner
from pomdp import TokenPolicy, action_shares, flatten, mean_log, with_decisions

BETA = 0.1              # of arms (ours: DPO's usual one; see `train_lpo`)
# Token level: beta, and pairs a minibatch. Ours: 40 iterations on the small LM, one training
# each, end at T = 18 with .31, .35, .39, .40, .41 for beta .1, 1, 2, 5, 10; 32 pairs with .26
# (beta 1). 8 make about as many steps an iteration as PPO.
TOKEN_BETA = 5.0
PAIRS = 8


def lpo_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """L of each pair (K,), from log pi of the right and of the wrong choice, (K,) both."""
    return -logsigmoid(beta * (chosen - rejected))


def two_arms(logp: Tensor, generator: torch.Generator) -> Tensor:
    """Two different arms (R, 2) a row, sampled without replacement from log pi (R, S), S > 1.

    They have the largest log pi + Gumbel noise (Kool et al. 2019), which works where pi is ~ 0 too.
    """
    gumbel = -(-torch.rand(logp.shape, generator=generator).log()).log()
    return (logp + gumbel).topk(2).indices


def train_lpo(x: Tensor, pull: Pull, arms: int, steps: int = 1500, batch: int = 256, lr: float = LR,
              seed: int = 0, progress: Progress | None = None) -> SoftmaxBandit:
    """As `bandit.train_softmax`, with two pulls a context, of arms that the policy itself samples.

    If arm s is right with probability p_s, pairs balance at beta log(pi_s / pi_s') = logit p_s
    - logit p_s': pi tends to odds(p)^(1 / beta). So .6 against .5 ends at 60 to 40 with beta 1, and
    at 98 to 2 with .1.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bandit = SoftmaxBandit(x.shape[1], arms)
    optimizer = torch.optim.Adam(bandit.actor.parameters(), lr=lr, fused=True)
    for step in range(steps):
        # Two different arms for each context, and their rewards
        rows = torch.randint(len(x), (batch,), generator=generator)
        logp = bandit(x[rows])                                                          # (R, S)
        pair = two_arms(logp.detach(), generator)                                       # (R, 2)
        reward = torch.stack([pull(rows, a, generator) for a in pair.unbind(1)], 1)     # (R, 2)
        # Where exactly one of them is right, prefer it
        differ = reward[:, 0] != reward[:, 1]                                           # (R,)
        ranked = pair.gather(1, reward.argsort(1, descending=True))[differ]             # (K, 2)
        chosen, rejected = logp[differ].gather(1, ranked).unbind(1)                     # (K,)
        loss = lpo_loss(chosen, rejected, BETA).sum() / max(len(ranked), 1)
        norm = optimizer_step(optimizer, bandit.actor, loss)
        if progress:
            entropy = -(logp.exp() * logp).sum(1).mean()
            progress(step=step, reward=reward.mean().item(), grad_norm=norm.item(),
                     entropy=entropy.item(), pairs=differ.float().mean().item())
    return bandit


def right_and_wrong(prompts: Tensor, rewards: Tensor, generator: torch.Generator) -> Tensor:
    """Pairs (K, 2) of episodes, in random order: each right one and a wrong one of its prompt.

    prompts, rewards (E,). A prompt whose completions are all right or all wrong has no pair.
    """
    pairs = [torch.zeros(0, 2, dtype=torch.long)]
    for prompt in prompts.unique():
        right = (rewards.eq(1) & (prompts == prompt)).nonzero()                         # (k, 1)
        wrong = (rewards.eq(0) & (prompts == prompt)).nonzero()
        if len(wrong):
            partners = torch.randint(len(wrong), (len(right),), generator=generator)
            pairs.append(torch.cat([right, wrong[partners]], dim=1))
    every = torch.cat(pairs)
    return every[torch.randperm(len(every), generator=generator)]


def pair_loss(policy: TokenPolicy, obs: Tensor, action: Tensor, lengths: Tensor,
              pairs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """(L of the pairs (K, 2) of episodes, its diagnostics).

    obs (F, D), action (F,): the decisions of E episodes laid end to end, lengths (E,) of them.
    """
    # log pi of the decisions that belong to one of the pairs' episodes
    episode = torch.arange(len(lengths), device=obs.device).repeat_interleave(lengths)  # (F,)
    used = torch.isin(episode, pairs)
    logp_all = policy.actor(obs[used]).log_softmax(-1)
    logp = logp_all.gather(1, action[used, None]).squeeze(1)
    # Its mean in each episode; 0 in those that are not used
    total = torch.zeros(len(lengths), device=obs.device).index_add(0, episode[used], logp)
    chosen, rejected = (total / lengths)[pairs].unbind(1)                               # (K,)
    loss = lpo_loss(chosen, rejected, TOKEN_BETA).mean()
    return loss, {"margin": (chosen - rejected).detach().mean()}


def lpo_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode], seed: int,
               entropy_bonus: float = 0.0) -> dict:
    """One LPO iteration, one pass over the pairs; returns the diagnostics of a CSV line.

    As `pomdp.ppo_update`; the episodes of a prompt share a token budget. LPO needs no critic and no
    entropy bonus. pairs: how many; margin: the mean log pi(s+) - log pi(s-).
    """
    episodes = with_decisions(episodes)
    if not episodes:
        return {"decisions": 0}
    obs, action, _, lengths, rewards = flatten(policy, episodes)
    with torch.no_grad():
        logp = policy.actor(obs).log_softmax(-1)                                        # (F, A)
        entropy = -(logp.exp() * logp).sum(1).mean()
    prompts = torch.tensor([x.prompt for x in episodes])                                # (E,)
    pairs = right_and_wrong(prompts, rewards, torch.Generator().manual_seed(seed))      # (K, 2)
    lengths = lengths.to(obs.device)
    logs = []
    if len(pairs):
        for some in pairs.split(PAIRS):
            loss, log = pair_loss(policy, obs, action, lengths, some.to(obs.device))
            log["grad_norm"] = optimizer_step(optimizer, policy.actor, loss)
            logs.append(log)
    return {"decisions": len(obs), "pairs": len(pairs), "entropy": float(entropy),
            **(mean_log(logs) if logs else {}), **action_shares(action)}


BANDITS["lpo"] = BanditLearner("LPO", train_lpo, "bandit_steps", only_with_baselines=True)
TOKEN_LEARNERS["lpo"] = lpo_update

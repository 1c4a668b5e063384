"""Rivals of the adapters: other published ways to set the temperature, on the same LM and sampler.

    python rivals.py                                              # EDT's temperatures; 4 seconds

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

Shapes: R rows, V vocabulary, d hidden size, S arms, X contexts, K pairs; E episodes, f decisions
and e episodes in this process, as in pomdp.py.
"""
from cli import Parser, run                    # first: Ctrl-C while torch loads gets one line

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad
from torch.optim import Optimizer
from tqdm import tqdm

import ranks
from autodeco import train_autodeco
from bandit import LR, Progress, Pull, SoftmaxBandit, clipped_step
from decode import Choice, Episode, Policy, State, Strategy, static
from features import distribution
from job import Job
from pomdp import TokenPolicy, descend, flatten, shares
from rewards import grader, play, sample_blind
from tasks import Problem

BETA = 0.1              # LPO's arms (ours: DPO's usual one; see `train_lpo`)
# LPO's mean over a text's decisions, and pairs a minibatch. Ours: 40 iterations on the embedded LM,
# one training each, end at T = 18 with .31, .35, .39, .40, .41 for beta .1, 1, 2, 5, 10; 32 pairs
# with .26 (beta 1). 8 make about as many steps an iteration as PPO.
TOKEN_BETA, PAIRS = 5.0, 8
N = 0.8                 # EDT's base (its paper)
COLD = 1e-3             # EDT: below it greedy (ours: logits / T stays finite)
EDT_GRID = tuple((T0, theta) for T0 in (0.7, 1.0, 1.4, 2.0) for theta in (0.1, 0.5, 2.0))  # ours


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
        norm = clipped_step(optimizer, bandit.actor, loss)
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


def pair_loss(policy: TokenPolicy, obs: Tensor, action: Tensor, lengths: Tensor, pairs: Tensor,
              M: int) -> tuple[Tensor, dict[str, Tensor]]:
    """What k pairs (k, 2) of this process's episodes add to L on a minibatch of M; k may be 0.

    obs (f, D), action (f,): the decisions of e episodes laid end to end, lengths (e,) of them.
    """
    owner = torch.arange(len(lengths), device=obs.device).repeat_interleave(lengths)    # (f,)
    used = torch.isin(owner, pairs)
    logp = policy.actor(obs[used]).log_softmax(-1).gather(1, action[used, None]).squeeze(1)
    mean = torch.zeros(len(lengths), device=obs.device).index_add(0, owner[used], logp) / lengths
    chosen, rejected = mean[pairs].unbind(1)                                            # (k,)
    return (lpo_loss(chosen, rejected, TOKEN_BETA).sum() / M,
            {"margin": (chosen - rejected).detach().sum() / M})


def lpo_update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode],
               seed: int) -> dict:
    """One LPO iteration, one pass over the pairs; the diagnostics of a CSV line.

    As `pomdp.ppo_update`; all texts of a prompt are in one process and under one token budget.
    pairs: how many; margin: the mean log pi(s+) - log pi(s-). The critic is not used.
    """
    episodes = [x for x in episodes if len(x.where)]           # no decision, nothing to learn from
    device = next(policy.parameters()).device
    obs, action, _ = (x.to(device) for x in flatten(policy, episodes))           # f decisions here
    lengths = torch.tensor([len(x.where) for x in episodes], dtype=torch.long).to(device)     # (e,)
    counts = ranks.gather(torch.tensor([[len(episodes), len(obs)]]))             # of each process
    start, total = int(counts[:ranks.rank(), 0].sum()), int(counts[:, 1].sum())
    # Every process numbers its own prompts; the higher half of a key tells them apart.
    prompts = ranks.gather(torch.tensor([x.prompt + (ranks.rank() << 32) for x in episodes],
                                        dtype=torch.long))                                    # (E,)
    rewards = ranks.gather(torch.tensor([x.reward for x in episodes], dtype=torch.float))     # (E,)
    if not total:
        return {"decisions": 0}
    with torch.no_grad():
        logp = policy.actor(obs).log_softmax(-1)                                          # (f, A)
    entropy = float(ranks.add(-(logp.exp() * logp).sum())) / total
    generator = torch.Generator().manual_seed(seed)
    pairs, logs = right_and_wrong(prompts, rewards, generator), []                        # (K, 2)
    for some in pairs.split(PAIRS) if len(pairs) else ():
        own = some[(start <= some[:, 0]) & (some[:, 0] < start + len(episodes))] - start
        loss, log = pair_loss(policy, obs, action, lengths, own.to(device), len(some))
        logs.append(descend(optimizer, list(policy.actor.parameters()), loss, log))
    mean = dict(zip(["margin", "grad_norm"], torch.stack(logs).mean(0).tolist())) if logs else {}
    return {"decisions": total, "pairs": len(pairs), "entropy": entropy, **mean,
            **shares(action, total)}


# ---- EDT ----------------------------------------------------------------------------------------
def edt_temperature(entropy: Tensor, T0: float, theta: float) -> Tensor:
    """(R,) of entropies in nats (R,); 0, which is greedy, where it would be below COLD."""
    T = T0 * N ** (theta / entropy.clamp(min=1e-6))          # so that theta 0 is T0 at H = 0 too
    return T.masked_fill(T < COLD, 0.0)


def edt(T0: float, theta: float) -> Policy:
    def policy(state: State) -> Choice:
        T = edt_temperature(distribution(state.logits)[:, 0], T0, theta)
        return Choice(pad(T[:, None], (0, 3)) + T.new_tensor([0.0, 0.0, 1.0, 0.0]), False)

    return policy


def tune_edt(job: Job, problems: list[Problem]) -> list[tuple[float, float]]:
    """(T0, theta) of EDT for each token budget, the best on the training problems."""
    config, values = job.config, []
    for T0, theta in tqdm(EDT_GRID, desc="4 EDT"):
        table = job.rewards.get(f"train edt {T0:g} {theta:g}", lambda: sample_blind(
            job.lm, job.task, problems, config.all_styles()[0], edt(T0, theta),
            config.samples, config.seed, config.rows))                                  # (P, n, T)
        values.append(table.mean((0, 1)))
        job.rewards.flush()
    return [EDT_GRID[i] for i in np.argmax(values, 0)]


# ---- AutoDeco's part of the job -----------------------------------------------------------------
def right_texts(job: Job, problems: list[Problem], seed: int) -> list[tuple[list[int], list[int]]]:
    """(prompt, completion) ids of the right ones of --samples texts a problem, at T = 1."""
    config, n = job.config, job.config.samples
    prompts = [job.task.prompt(p, config.all_styles()[0]) for p in problems]
    episodes = play(job.lm, job.task, prompts, static(torch.tensor([Strategy()])),
                    torch.full((len(prompts) * n,), max(job.task.budgets)), n, seed, config.rows,
                    grader(job.lm, job.task, problems))
    ids = [job.lm.encode(p) for p in prompts]
    return [(ids[x.prompt], x.tokens.tolist()) for x in episodes if x.reward]


def train_heads(job: Job, problems: list[Problem], seed: int) -> None:
    """AutoDeco's, on the right ones of texts sampled at T = 1, if there are any."""
    if job.done("autodeco", seed):
        return
    if texts := right_texts(job, problems, seed):
        with tqdm(total=job.config.bandit_steps, desc=f"4 autodeco {seed}") as bar:
            heads = train_autodeco(job.lm, texts, job.config.bandit_steps, seed=seed,
                                   progress=lambda **line: bar.update())
        job.save("autodeco", seed, "autodeco", heads.state_dict())
    else:
        print(f"seed {seed}: no text sampled at T = 1 is right; no row of heads like AutoDeco's")


# ---- as a program: EDT's temperatures -----------------------------------------------------------
def main() -> None:
    Parser(prog="rivals.py", description="EDT's temperatures.").parse_args()
    H = torch.tensor([0.0, 0.05, 0.2, 0.5, 1.0, 2.0])
    print("EDT        H = " + "".join(f"{x:7.2f}" for x in H))
    for T0, theta in EDT_GRID:
        print(f"T0 {T0:g}, theta {theta:g}:".ljust(19)
              + "".join(f"{x:7.3f}" for x in edt_temperature(H, T0, theta)))


if __name__ == "__main__":
    run("rivals.py", main)

"""Rivals of the adapters: other published ways to set the temperature, on the same LM and sampler.

    python rivals.py                 # EDT's temperatures; what AutoDeco learns where it is known

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

AutoDeco (Wang et al. 2025): two heads on h_t, trained by cross-entropy on right texts of the LM,
through a top-p with soft edges; w as in `token_weights`:

    T = 2 sigmoid(f(h)),  P = sigmoid(g([h; T])),  p = softmax(logits / T),
    q = p m / sum p m,    m = exp(-alpha relu(c - P)),    L = -mean w log q(y)

Deviations: (1) c is the mass of the tokens before one, as the sampler counts it, and q tends to
the sampler's top-p as alpha grows; their c holds the token itself, and the one that crosses P goes.
(2) f and g have three layers, as our adapters do, theirs two; h passes a layer norm. (3) Their
code gives g four numbers of the distribution more, and has a second loss without top-p: left out.
What it learns is what right texts do, not what is right: reward, budget and T never meet.

Shapes: R rows, V vocabulary, d hidden size, S arms, X contexts, K tokens of texts; E episodes, f
decisions and e episodes in this process, as in pomdp.py.
"""
from cli import Parser, run                    # first: Ctrl-C while torch loads gets one line

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, logsigmoid, pad
from torch.optim import Optimizer

import ranks
from bandit import LR, Progress, Pull, SoftmaxBandit, mlp
from clock import clock
from decode import Choice, Episode, Policy, State
from features import distribution
from lm import LM
from pomdp import TokenPolicy, descend, flatten, shares

BETA = 0.1              # LPO's arms (ours: DPO's usual one; see `train_lpo`)
# LPO's mean over a text's decisions, and pairs a minibatch. Ours: 40 iterations on the embedded LM,
# one training each, end at T = 18 with .31, .35, .39, .40, .41 for beta .1, 1, 2, 5, 10; 32 pairs
# with .26 (beta 1). 8 make about as many steps an iteration as PPO.
TOKEN_BETA, PAIRS = 5.0, 8
N = 0.8                 # EDT's base (its paper)
COLD = 1e-3             # EDT: below it greedy (ours: logits / T stays finite)
EDT_GRID = tuple((T0, theta) for T0 in (0.7, 1.0, 1.4, 2.0) for theta in (0.1, 0.5, 2.0))  # ours
ALPHA = 30.0            # AutoDeco: steepness (its paper)
EASY = 0.6              # AutoDeco: share of easy tokens left out (its paper)
COLDEST = 0.01          # AutoDeco (its code)


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
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(bandit.actor.parameters(), 0.5)
        optimizer.step()
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


# ---- AutoDeco -----------------------------------------------------------------------------------
class AutoDeco(nn.Module):
    """The two heads; width 256 (its code). They start at T = 1, P = .5."""

    def __init__(self, d: int, width: int = 256):
        super().__init__()
        self.temperature, self.top_p = mlp(d, width, 1), mlp(d + 1, width, 1)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """T and P, (R,) both, from h (R, d)."""
        h = layer_norm(h.float(), h.shape[-1:])
        T = (2 * torch.sigmoid(self.temperature(h))).clamp(min=COLDEST)
        P = torch.sigmoid(self.top_p(torch.cat([h, T.detach()], 1)))           # detached: its code
        return T.squeeze(1), P.squeeze(1)

    def acting(self) -> Policy:
        def policy(state: State) -> Choice:
            T, P = self(state.h)
            return Choice(torch.stack([T, torch.zeros_like(T), P, torch.zeros_like(T)], 1))

        return policy


def soft_top_p(p: Tensor, top_p: Tensor, alpha: float = ALPHA) -> Tensor:
    """q (R, V) of probabilities p (R, V) and P (R,): differentiable in both."""
    ranked, order = p.sort(descending=True)
    before = ranked.cumsum(-1) - ranked                                                 # c (R, V)
    mask = (-alpha * (before - top_p[:, None]).relu()).exp()           # 1 at the first: sum > 0
    q = p * torch.zeros_like(p).scatter(1, order, mask)
    return q / q.sum(-1, keepdim=True)


def autodeco_loss(heads: AutoDeco, h: Tensor, logits: Tensor, target: Tensor,
                  weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(L, mean T, mean P) on h (R, d), logits (R, V), the tokens that came (R,), their w (R,)."""
    T, P = heads(h)
    q = soft_top_p((logits / T[:, None]).softmax(-1), P)
    likelihood = q.gather(1, target[:, None]).squeeze(1)
    return -(weight * (likelihood + 1e-9).log()).mean(), T.mean(), P.mean()       # 1e-9: its code


def fit_autodeco(h: Tensor, logits: Tensor, target: Tensor, weight: Tensor, steps: int, batch: int,
                 lr: float = LR, seed: int = 0, progress: Progress | None = None) -> AutoDeco:
    """Heads fitted to K tokens in minibatches of `batch` tokens; shapes as in `autodeco_loss`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = AutoDeco(h.shape[1]).to(h.device)
    optimizer = torch.optim.Adam(heads.parameters(), lr=lr, fused=True)
    for step in range(steps):
        rows = torch.randint(len(h), (batch,), generator=generator).to(h.device)
        loss, T, P = autodeco_loss(heads, h[rows], logits[rows], target[rows], weight[rows])
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(heads.parameters(), 0.5)                  # as in bandit.py
        optimizer.step()
        if progress:
            progress(step=step, loss=loss.item(), temperature=T.item(), top_p=P.item(),
                     grad_norm=norm.item())
    return heads


@torch.no_grad()
def read(lm: LM, texts: list[tuple[list[int], list[int]]],
         rows: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """h (K, d), logits (K, V) in fp32 and the tokens (K,) of all completions, `rows` texts a pass.

    texts: (prompt ids, completion ids). Padded on the right: no token sees the padding behind it.
    """
    kept, parts = [], []
    hook = lm.model.get_output_embeddings().register_forward_pre_hook(
        lambda _module, inputs: kept.append(inputs[0]))                   # h, as in lm.LM._keep
    try:
        for some in (texts[i:i + rows] for i in range(0, len(texts), rows)):
            longest = max(len(a) + len(b) for a, b in some)
            ids = torch.tensor([[*a, *b] + [0] * (longest - len(a) - len(b)) for a, b in some],
                               device=lm.device)                                        # (rows, L)
            with clock("LM forward"):
                logits = lm.model(input_ids=ids, use_cache=False).logits[..., :lm.vocabulary]
            # A place predicts the token behind it: the prompt's last one a completion's first.
            where = torch.zeros_like(ids, dtype=torch.bool)
            for i, (a, b) in enumerate(some):
                where[i, len(a) - 1:len(a) + len(b) - 1] = True
            following = ids.roll(-1, 1)[where]
            parts.append((kept.pop()[where].float(), logits[where].float(), following))
    finally:
        hook.remove()
    h, logits, tokens = (torch.cat(x) for x in zip(*parts))
    return h, logits, tokens


def token_weights(logits: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    """w (K,): the LM's own p(y), and 0 for EASY of the tokens that are the LM's first choice.

    p(y) (its paper's "dynamic fine-tuning") makes T smaller: alone, tokens drawn at T = 1 would
    teach 1 / 2. Leaving out easy tokens makes it larger.
    """
    own = logits.softmax(-1).gather(1, target[:, None]).squeeze(1)
    out = torch.rand(len(target), generator=generator).to(own.device) < EASY
    return own * ~(out & (logits.argmax(-1) == target))


def train_autodeco(lm: LM, texts: list[tuple[list[int], list[int]]], steps: int, batch: int = 256,
                   lr: float = LR, seed: int = 0, progress: Progress | None = None) -> AutoDeco:
    """On right texts, (prompt ids, completion ids with the end token).

    All logits are kept, 4 K V bytes: for some hundred short texts, or a small vocabulary.
    """
    h, logits, target = read(lm, texts)
    weight = token_weights(logits, target, torch.Generator().manual_seed(seed))
    return fit_autodeco(h, logits, target, weight, steps, batch, lr, seed, progress)


# ---- as a program: both where the answer is known -----------------------------------------------
def cooled(temperature: Tensor, d: int = 16, vocabulary: int = 12,
           seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """h (K, d), logits (K, V), and tokens (K,) drawn at `temperature` (K,), which h shows."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(len(temperature), d, generator=generator)
    h[:, 0] = 10 * (temperature - 1)
    logits = 1.5 * torch.randn(len(temperature), vocabulary, generator=generator)
    p = (logits / temperature[:, None]).softmax(-1)
    return h, logits, torch.multinomial(p, 1, generator=generator).squeeze(1)


def main() -> None:
    Parser(prog="rivals.py", description="EDT's temperatures, and what AutoDeco learns where the "
           "right temperature is known.").parse_args()
    H = torch.tensor([0.0, 0.05, 0.2, 0.5, 1.0, 2.0])
    print("EDT        H = " + "".join(f"{x:7.2f}" for x in H))
    for T0, theta in EDT_GRID:
        print(f"T0 {T0:g}, theta {theta:g}:".ljust(19)
              + "".join(f"{x:7.3f}" for x in edt_temperature(H, T0, theta)))
    true = torch.tensor([0.5, 1.0, 1.5]).repeat(2000)
    h, logits, target = cooled(true)
    heads = fit_autodeco(h, logits, target, torch.ones(len(true)), 400, 256)
    T, P = heads(h)
    print("\nAutoDeco, tokens drawn at\n" + "\n".join(
        f"T = {t:.2f}:  learned T {T[true == t].mean():.2f}, P {P[true == t].mean():.2f}"
        for t in (0.5, 1.0, 1.5)))


if __name__ == "__main__":
    run("rivals.py", main)

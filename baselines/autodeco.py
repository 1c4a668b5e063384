"""A rival: heads that predict temperature and top-p, AutoDeco (Wang et al. 2025).

    python -m demos.autodeco_toy     # the temperatures it learns where the right ones are known; 8 seconds

Two heads on h_t, trained by cross-entropy on right texts of the LM, through a top-p with soft
edges; w as in `token_weights`:

    T = 2 sigmoid(f(h)),  P = sigmoid(g([h; T])),  p = softmax(logits / T),
    q = p m / sum p m,    m = exp(-alpha relu(c - P)),    L = -mean w log q(y)

Deviations: (1) c is the mass of the tokens before one, as the sampler counts it, and q tends to
the sampler's top-p as alpha grows; their c holds the token itself, and the one that crosses P goes.
(2) f and g have three layers, as our adapters do, theirs two; h passes a layer norm. (3) Their
code gives g four numbers of the distribution more, and has a second loss without top-p: left out.
(4) h is kept, and logits are made again for each minibatch, by the output head alone: what an LM
does to them behind its head (Gemma 2's soft cap) is not seen in training.
What it learns is what right texts do, not what is right: reward picks the texts, no more.

Shapes: R rows, V vocabulary, d hidden size, K tokens of texts.
"""
from typing import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from tqdm import tqdm

from bandit import LR, Progress, optimizer_step, mlp
from batch import State
from decode import Choice, Strategy, static
from experiment.held_out import Cells, HeldOut
from experiment.registry import ADAPTERS, BASELINES, Baseline
from experiment.reward_table import grade_fn, collect
from experiment.run import Run
from lm import LM
from utils import distributed
from utils.problem_files import Problem
from utils.profiling import clock

ALPHA = 30.0            # steepness (its paper)
EASY = 0.6              # share of easy tokens left out (its paper)
COLDEST = 0.01          # (its code)


# ---- the heads ----------------------------------------------------------------------------------
class AutoDeco(nn.Module):
    """The two heads; width 256 (its code). They start at T = 1, P = .5."""

    def __init__(self, d: int, width: int = 256):
        super().__init__()
        self.temperature, self.top_p = mlp(d, width, 1), mlp(d + 1, width, 1)

    def temperature_and_top_p(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """T and P, (R,) both, from h (R, d)."""
        h = layer_norm(h.float(), h.shape[-1:])
        T = (2 * torch.sigmoid(self.temperature(h))).clamp(min=COLDEST)
        P = torch.sigmoid(self.top_p(torch.cat([h, T.detach()], 1)))           # detached: its code
        return T.squeeze(1), P.squeeze(1)

    def forward(self, state: State) -> Choice:
        """The policy: a temperature and a top-p before every token."""
        T, P = self.temperature_and_top_p(state.h)
        off = torch.zeros_like(T)
        return Choice(torch.stack([T, off, P, off], 1))


# ---- their training -----------------------------------------------------------------------------
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
    T, P = heads.temperature_and_top_p(h)
    q = soft_top_p((logits / T[:, None]).softmax(-1), P)
    likelihood = q.gather(1, target[:, None]).squeeze(1)
    return -(weight * (likelihood + 1e-9).log()).mean(), T.mean(), P.mean()       # 1e-9: its code


def fit_autodeco(h: Tensor, logits_of: Callable[[Tensor], Tensor], target: Tensor, weight: Tensor,
                 steps: int, batch: int, lr: float = LR, seed: int = 0,
                 progress: Progress | None = None) -> AutoDeco:
    """Heads fitted to K tokens in minibatches; h (K, d), target, weight (K,) as in `autodeco_loss`.

    logits_of(rows (batch,)) gives the logits (batch, V) of these tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = AutoDeco(h.shape[1]).to(h.device)
    optimizer = torch.optim.Adam(heads.parameters(), lr=lr, fused=True)
    for step in range(steps):
        rows = torch.randint(len(h), (batch,), generator=generator).to(h.device)
        loss, T, P = autodeco_loss(heads, h[rows], logits_of(rows), target[rows], weight[rows])
        norm = optimizer_step(optimizer, heads, loss)
        if progress:
            progress(step=step, loss=loss.item(), temperature=T.item(), top_p=P.item(),
                     grad_norm=norm.item())
    return heads


@torch.no_grad()
def read(lm: LM, texts: list[tuple[list[int], list[int]]],
         rows: int = 16) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """h (k, d), logits (k, V) in fp32 and the tokens (k,) of the completions, `rows` texts a pass.

    texts: (prompt ids, completion ids). Padded on the right: no token sees the padding behind it.
    """
    kept = []
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
            yield kept.pop()[where], logits[where].float(), ids.roll(-1, 1)[where]
    finally:
        hook.remove()


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
    """On right texts, (prompt ids, completion ids with the end token)."""
    generator, head = torch.Generator().manual_seed(seed), lm.model.get_output_embeddings()
    h, weight, target = (torch.cat(x) for x in zip(*(
        (h, token_weights(logits, y, generator), y) for h, logits, y in read(lm, texts))))

    def logits_of(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return head(h[rows])[:, :lm.vocabulary].float()                              # (R, V)

    return fit_autodeco(h, logits_of, target, weight, steps, batch, lr, seed, progress)


def right_texts(run: Run, problems: list[Problem], seed: int) -> list[tuple[list[int], list[int]]]:
    """(prompt, completion) ids of the right ones of --samples texts a problem, at T = 1."""
    config, n = run.config, run.config.samples
    prompts = [run.task.prompt(p, config.all_styles()[0]) for p in problems]
    episodes = collect(run.lm, run.task, prompts, static(torch.tensor([Strategy()])),
                    torch.full((len(prompts) * n,), max(run.task.budgets)), n, seed, config.rows,
                    grade_fn(run.lm, run.task, problems))
    ids = [run.lm.encode(p) for p in prompts]
    return [(ids[x.prompt], x.tokens.tolist()) for x in episodes if x.reward]


def train_heads(run: Run, problems: list[Problem], seed: int) -> None:
    """AutoDeco's, on the right ones of texts sampled at T = 1, if there are any."""
    if run.done("autodeco", seed):
        return
    if texts := right_texts(run, problems, seed):
        with tqdm(total=run.config.bandit_steps, desc=f"4 autodeco {seed}") as bar:
            heads = train_autodeco(run.lm, texts, run.config.bandit_steps, seed=seed,
                                   progress=lambda **line: bar.update())
        run.save("autodeco", seed, "autodeco", heads.state_dict())
    else:
        print(f"seed {seed}: no text sampled at T = 1 is right; no row of heads like AutoDeco's")


def cells(held: HeldOut) -> Cells | None:
    """None where a training had no right text to learn from."""
    seeds = held.run.config.all_seeds()
    if not all(held.run.done("autodeco", seed) for seed in seeds):
        return None
    return held.over_seeds(lambda seed: held.cells(held.budget_blind_table(
        f"autodeco {seed}", held.load("autodeco", seed)[0])))


def build(lm: LM, about: dict) -> AutoDeco:
    return AutoDeco(lm.d).to(lm.device)


def train_first(run: Run, problems: list[Problem], seed: int) -> None:
    """One process is enough."""
    distributed.main_process_first(lambda: train_heads(run, problems, seed))


ADAPTERS["autodeco"] = build
BASELINES["autodeco"] = Baseline("AutoDeco-like", cells, train=train_first)

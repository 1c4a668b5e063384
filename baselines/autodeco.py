"""Heads that predict temperature and top-p, like AutoDeco's (Wang et al. 2025): a baseline.

    python -m demos.autodeco_toy     # what it learns where the answer is known; 8 seconds

Two heads f and g on h_t are trained by cross-entropy on right completions of the LM, through a
top-p with soft edges; tau is the temperature, w is explained in `token_weights`:

    tau = 2 sigmoid(f(h)),  P = sigmoid(g([h; tau])),  p = softmax(logits / tau),
    q = p m / sum p m,      m = exp(-alpha relu(c - P)),    L = -mean w log q(y)

Deviations: (1) c is the mass of the tokens before one, as in our sampler; theirs includes the token
itself, so the one that crosses P goes. (2) f and g have three layers, as our adapters do, not two;
h passes a layer norm. (3) We left out four inputs of g, numbers of the distribution, and a second
loss without top-p. (4) We keep h and compute logits again for each minibatch, by the output head
alone: what an LM does behind it (Gemma 2's soft cap) is not seen in training.
Shapes: R rows, V vocabulary, d hidden size, K tokens of completions.
"""
from typing import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from bandit import LR, Progress, mlp, optimizer_step
from batch import State
from decode import Choice, Strategy, static
from experiment.held_out import Cells, HeldOut
from experiment.registry import ADAPTERS, BASELINES, Baseline
from experiment.reward_table import collect, grade_fn
from experiment.run import Run
from features import normalise
from lm import LM
from utils import distributed
from utils.problem_files import Problem
from utils.profiling import clock

ALPHA = 30.0            # steepness of the soft edge (its paper)
EASY = 0.6              # share of easy tokens left out (its paper)
COLDEST = 0.01          # lowest temperature (its code)

Ids = tuple[list[int], list[int]]      # token ids of a prompt and of its completion


class AutoDeco(nn.Module):
    """The two heads; width 256 (its code). They start at temperature 1 and top-p .5."""

    def __init__(self, d: int, width: int = 256):
        super().__init__()
        self.temperature = mlp(d, width, 1)
        self.top_p = mlp(d + 1, width, 1)

    def temperature_and_top_p(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """tau and P, (R,) both, from h (R, d)."""
        h = normalise(h)
        tau = (2 * torch.sigmoid(self.temperature(h))).clamp(min=COLDEST)
        P = torch.sigmoid(self.top_p(torch.cat([h, tau.detach()], 1)))     # detached: its code
        return tau.squeeze(1), P.squeeze(1)

    def forward(self, state: State) -> Choice:
        """The policy: a temperature and a top-p before every token."""
        tau, P = self.temperature_and_top_p(state.h)
        off = torch.zeros_like(tau)
        return Choice(torch.stack([tau, off, P, off], 1))


def soft_top_p(p: Tensor, top_p: Tensor, alpha: float = ALPHA) -> Tensor:
    """q (R, V) of probabilities p (R, V) and P (R,): differentiable in both."""
    ranked, order = p.sort(descending=True)
    before = ranked.cumsum(-1) - ranked                                           # c (R, V)
    mask = (-alpha * (before - top_p[:, None]).relu()).exp()       # 1 at the first, so that sum > 0
    q = p * torch.zeros_like(p).scatter(1, order, mask)            # m back in the tokens' order
    return q / q.sum(-1, keepdim=True)


def autodeco_loss(heads: AutoDeco, h: Tensor, logits: Tensor, target: Tensor,
                  weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(L, mean tau, mean P) of h (R, d), logits (R, V), the tokens that came (R,), their w (R,)."""
    tau, P = heads.temperature_and_top_p(h)
    q = soft_top_p((logits / tau[:, None]).softmax(-1), P)
    likelihood = q.gather(1, target[:, None]).squeeze(1)
    return -(weight * (likelihood + 1e-9).log()).mean(), tau.mean(), P.mean()     # 1e-9: its code


def fit_autodeco(h: Tensor, logits_of: Callable[[Tensor], Tensor], target: Tensor, weight: Tensor,
                 steps: int, batch: int = 256, lr: float = LR, seed: int = 0,
                 progress: Progress | None = None) -> AutoDeco:
    """Heads fitted to K tokens: h (K, d), logits_of(rows (R,)) -> (R, V), target, weight (K,)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = AutoDeco(h.shape[1]).to(h.device)
    optimizer = torch.optim.Adam(heads.parameters(), lr=lr, fused=True)
    for step in range(steps):
        rows = torch.randint(len(h), (batch,), generator=generator).to(h.device)
        loss, tau, P = autodeco_loss(heads, h[rows], logits_of(rows), target[rows], weight[rows])
        norm = optimizer_step(optimizer, heads, loss)
        if progress:
            progress(step=step, loss=loss.item(), temperature=tau.item(), top_p=P.item(),
                     grad_norm=norm.item())
    return heads


@torch.no_grad()
def read(lm: LM, completions: list[Ids], rows: int = 16) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """h (k, d), logits (k, V) in fp32 and the k tokens of `rows` completions at a time."""
    head_inputs = []                                          # h, as in LM._keep_h
    hook = lm.model.get_output_embeddings().register_forward_pre_hook(
        lambda _module, inputs: head_inputs.append(inputs[0]))
    try:
        for first in range(0, len(completions), rows):
            some = completions[first:first + rows]
            # Padded on the right, where no token sees the padding
            ids = pad_sequence([torch.tensor(a + b) for a, b in some], batch_first=True)
            ids = ids.to(lm.device)                                               # (rows, longest)
            # Each position predicts the next token; these predict the completions' tokens
            predicts = torch.zeros_like(ids, dtype=torch.bool)
            for i, (prompt, completion) in enumerate(some):
                predicts[i, len(prompt) - 1:len(prompt) + len(completion) - 1] = True
            with clock("LM forward"):
                logits = lm.model(input_ids=ids, use_cache=False).logits[..., :lm.vocabulary]
            yield head_inputs.pop()[predicts], logits[predicts].float(), ids.roll(-1, 1)[predicts]
    finally:
        hook.remove()


def token_weights(logits: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    """w (K,): the LM's own p(y), and 0 for EASY of the tokens that are the LM's first choice.

    Weighting by p(y) (its paper's "dynamic fine-tuning") lowers the temperature that is learned:
    about 1 / 2 for tokens that were sampled at 1. Leaving out easy tokens raises it.
    """
    own = logits.softmax(-1).gather(1, target[:, None]).squeeze(1)
    out = torch.rand(len(target), generator=generator).to(own.device) < EASY
    return own * ~(out & (logits.argmax(-1) == target))


def train_autodeco(lm: LM, completions: list[Ids], steps: int, seed: int = 0,
                   progress: Progress | None = None) -> AutoDeco:
    """Heads trained on right completions, whose ids include the end token."""
    generator = torch.Generator().manual_seed(seed)
    batches = [(h, token_weights(logits, target, generator), target)
               for h, logits, target in read(lm, completions)]
    h, weight, target = (torch.cat(x) for x in zip(*batches))
    head = lm.model.get_output_embeddings()

    def logits_of(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return head(h[rows])[:, :lm.vocabulary].float()                       # (R, V)

    return fit_autodeco(h, logits_of, target, weight, steps, seed=seed, progress=progress)


def right_completions(run: Run, problems: list[Problem], seed: int) -> list[Ids]:
    """The right ones of --samples completions a problem, sampled at temperature 1."""
    config = run.config
    n = config.samples
    prompts = [run.task.prompt(p, config.all_styles()[0]) for p in problems]
    budgets = torch.full((len(prompts) * n,), max(run.task.budgets))
    episodes = collect(run.lm, run.task, prompts, static(torch.tensor([Strategy()])), budgets, n,
                       seed, config.rows, grade_fn(run.lm, run.task, problems, prompts))
    ids = [run.lm.encode(p) for p in prompts]
    return [(ids[x.prompt], x.tokens.tolist()) for x in episodes if x.reward]


def train_heads(run: Run, problems: list[Problem], seed: int) -> None:
    """Trains and saves the heads of one seed, where any completion is right."""
    if run.done("autodeco", seed):
        return
    completions = right_completions(run, problems, seed)
    if not completions:
        print(f"seed {seed}: no completion at temperature 1 is right, so AutoDeco is not trained")
        return
    steps = run.config.bandit_steps
    with tqdm(total=steps, desc=f"4/6 autodeco, seed {seed}") as bar:
        heads = train_autodeco(run.lm, completions, steps, seed, lambda **line: bar.update())
    run.save("autodeco", seed, "autodeco", heads.state_dict())


def train_on_main_process(run: Run, problems: list[Problem], seed: int) -> None:
    """One process is enough."""
    distributed.main_process_first(lambda: train_heads(run, problems, seed))


def cells(held: HeldOut) -> Cells | None:
    """None where a seed had no right completion to learn from."""
    seeds = held.run.config.all_seeds()
    if not all(held.run.done("autodeco", seed) for seed in seeds):
        return None
    return held.over_seeds(lambda seed: held.cells(held.budget_blind_table(
        f"autodeco {seed}", held.load("autodeco", seed)[0])))


def build(lm: LM, about: dict) -> AutoDeco:
    return AutoDeco(lm.d).to(lm.device)


ADAPTERS["autodeco"] = build
BASELINES["autodeco"] = Baseline("AutoDeco-like", cells, train=train_on_main_process)

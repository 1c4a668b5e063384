"""What a trained run does on held-out problems, token by token: small files for figures.

    python -m demos.write_traces runs/sums                     # writes the four files below into the folder

| file | a line (an entry) | of |
|---|---|---|
| tokens.csv | a decision of the token policy | the first 100 held-out problems, each budget T |
| lengths.csv | how many texts have how many tokens | greedy, best static, token level; the same |
| generations.json | a text, every token of it | token level, the first 20, budgets in turn |
| choices.csv | the share of problems given an arm | a bandit, by B, T and level; all held-out |

    p         next-token distribution of the LM          q = probs(logits, strategy), sampled from
    p_max     max p                                      entropy = H(p), entropy_after = H(q), nats
    value     V(o_t), the critic's                       p in generations.json: q(y_t), y_t drawn
    left      b_t = T - t                                action -1: the policy named none

One text a problem and budget, arg-max actions, the seed of the run: sample 0 of what `eval.py`
scores. A sure token (p_max > .95) is no decision: its action is 0, and V was not trained there.

Deviations from the paper: none; what these files hold is ours.

Shapes: R places, V vocabulary, D inputs of the critic, P held-out problems, as in decode.py.
"""
import csv
import io
import itertools
import json
from collections import Counter
from typing import Iterable, NamedTuple

import torch
from torch import Tensor

from batch import State
from decode import GREEDY, Choice, Episode, static
from experiment.adapters import arms_from_json
from experiment.held_out import HeldOut
from experiment.reward_table import Arm, collect
from features import P_MAX_COLUMN, distribution
from lm import LM
from pomdp import TEMPERATURES, TokenPolicy
from utils.detokenizer import Detokenizer
from utils.files import write
from utils.problem_files import Problem

PROBLEMS, SHOWN = 100, 20       # ours: 500 texts of the embedded LM take seconds; a page shows 20
TOKENS = ("policy", "problem", "budget", "step", "left", "p_max", "entropy", "entropy_after",
          "action", "temperature", "value")
LENGTHS = ("policy", "budget", "length", "count")
CHOICES = ("adapter", "styles", "parallel", "budget", "level", "arm", "share")


# ---- the token policy, watched ------------------------------------------------------------------
class Note(NamedTuple):
    """One token of one text."""
    row: int
    step: int
    tokens_left: int
    token: int
    action: int
    decision: int          # 0 or 1
    p: float               # of the token, where it was drawn from
    p_max: float
    entropy: float
    entropy_after: float
    value: float


class TraceRecorder:
    """Notes every token that is drawn under the token policy: an `on_step`."""

    def __init__(self, token: TokenPolicy):
        self.token, self.counts, self.numbers = token, [], []

    def __call__(self, s: State, choice: Choice, q: Tensor, y: Tensor) -> None:
        """q (R, V): what the tokens y (R,) were drawn from."""
        assert choice.action is not None and choice.decision_rows is not None
        dist = distribution(s.logits)                                                # (R, 4)
        decision = torch.zeros_like(s.row).index_fill(0, choice.decision_rows, 1)    # (R,)
        value = self.token.critic(self.token.observation(s.h, s.e, dist, s.tokens_left))   # (R, 1)
        after = torch.special.entr(q).sum(1)                             # H(q) = -sum q log q
        # Copies, on the device: the loop changes its state in place, and waits for nothing here.
        self.counts.append(torch.stack([s.row, s.step, s.tokens_left, y, choice.action, decision],
                                       1))
        self.numbers.append(torch.stack([q.gather(1, y[:, None]).squeeze(1), dist[:, P_MAX_COLUMN],
                                         dist[:, 0], after, value.squeeze(1)], 1))   # (R, 5)

    def notes(self, rows: int) -> list[list[Note]]:
        """Of each row of the call, in the order of its text."""
        told = [[] for _ in range(rows)]
        for counts, numbers in zip(*(torch.cat(x).tolist() for x in (self.counts, self.numbers))):
            note = Note(*counts, *numbers)
            if note.tokens_left > 0:                # 0: a place whose row has ended, and that goes on
                told[note.row].append(note)
        return told


def watch(held: HeldOut, problems: list[Problem],
          token: TokenPolicy) -> tuple[list[Episode], list[list[Note]]]:
    """Episodes and notes of all (problem, budget), in this order; sample 0 of each."""
    budgets, style = held.run.task.budgets, held.run.config.all_styles()[0]
    prompts = [held.run.task.prompt(p, style) for p in problems for _ in budgets]
    each, recorder = torch.tensor(budgets).repeat(len(problems)), TraceRecorder(token)
    episodes = collect(held.run.lm, held.run.task, prompts, token, each, 1, held.run.config.seed,
                       held.run.config.rows, on_step=recorder)
    return episodes, recorder.notes(len(prompts))


# ---- the four files -----------------------------------------------------------------------------
def token_lines(notes: list[list[Note]], budgets: tuple[int, ...]) -> Iterable[tuple]:
    for i, told in enumerate(notes):
        problem, t = divmod(i, len(budgets))
        for x in told:
            if x.decision:
                yield ("token level", problem, budgets[t], x.step, x.tokens_left, x.p_max, x.entropy,
                       x.entropy_after, x.action, TEMPERATURES[x.action], x.value)


def length_lines(held: HeldOut, problems: list[Problem], best: list[Arm],
                 episodes: list[Episode]) -> Iterable[tuple]:
    """best: for each budget the best static arm. episodes: of `watch`."""
    budgets = held.run.task.budgets
    greedy = Arm(held.run.config.all_styles()[0], GREEDY)
    whole = {arm: static_lengths(held, problems, arm) for arm in dict.fromkeys([greedy, *best])}
    for t, T in enumerate(budgets):
        lengths = {"greedy": whole[greedy], "best static": whole[best[t]],
                   "token level": [len(x.tokens) for x in episodes[t::len(budgets)]]}
        for policy, each in lengths.items():
            for length, count in sorted(Counter(min(x, T) for x in each).items()):
                yield policy, T, length, count


def static_lengths(held: HeldOut, problems: list[Problem], arm: Arm) -> list[int]:
    """At the largest budget: under a smaller one a static strategy's text is a prefix."""
    policy = static(torch.tensor([arm.strategy]))
    prompts = [held.run.task.prompt(p, arm.style) for p in problems]
    budgets = torch.full((len(problems),), max(held.run.task.budgets))
    return [len(x.tokens) for x in collect(held.run.lm, held.run.task, prompts, policy, budgets, 1,
                                        held.run.config.seed, held.run.config.rows)]


def generations(held: HeldOut, problems: list[Problem], episodes: list[Episode],
                notes: list[list[Note]]) -> list[dict]:
    """The first SHOWN problems; episodes, notes: of `watch`."""
    told, T = [], len(held.run.task.budgets)
    for i, problem in enumerate(problems[:SHOWN]):
        x, text = episodes[i * T + i % T], notes[i * T + i % T]
        told.append({"prompt": held.run.task.prompt(problem, held.run.config.all_styles()[0]),
                     "answer": problem.answer, "budget": x.budget,
                     "reward": held.run.task.grade(held.run.lm.text(x.tokens), problem),
                     "ended": not x.truncated, "tokens": told_tokens(held.run.lm, text)})
    return told


def told_tokens(lm: LM, notes: list[Note]) -> list[dict]:
    """Special tokens are a part of the text here."""
    pieces = Detokenizer(lm.tokenizer.decode)
    texts = [pieces.add(x.token, x is notes[-1]) for x in notes]
    return [{"text": piece, "action": x.action, "decision": bool(x.decision), "left": x.tokens_left,
             **{k: float(f"{getattr(x, k):.6g}") for k in ("p", "p_max", "entropy", "value")}}
            for piece, x in zip(texts, notes)]


def choice_lines(held: HeldOut, bandits: dict) -> Iterable[tuple]:
    """bandits: (kind, styles) -> (bandit, what its file says). Shares of 0 are left out."""
    levels = [p.difficulty for p in held.run.task.test]
    rising = sorted(set(levels), key=lambda level: -1 if level is None else level)
    for ((name, styles), (bandit, about)), B, (t, T) in itertools.product(
            bandits.items(), sorted({held.Bs[0], held.Bs[-1]}), enumerate(held.run.task.budgets)):
        arms = arms_from_json(about["arms"])
        choice = held.choice(bandit, about["parts"], B, t).tolist()                     # (P,)
        counts = Counter(zip(levels, choice))
        for level, arm in itertools.product(rising, range(len(arms))):
            if share := counts[level, arm] / levels.count(level):
                yield name, styles, B, T, "" if level is None else level, str(arms[arm]), share


def as_csv(columns: tuple[str, ...], lines: Iterable[tuple]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{x:.6g}" if isinstance(x, float) else x for x in line] for line in lines)
    return text.getvalue()


def write_traces(held: HeldOut) -> None:
    """The four files, in the run's folder. One process is enough."""
    run, seed, sets = held.run, held.run.config.seed, held.told["sets"]
    problems, token = run.task.test[:PROBLEMS], held.load("token", seed)[0]
    best = arms_from_json(next(iter(sets.values()))["best_static"][0])             # at B = 1
    bandits = {(kind, styles): held.load(f"{kind} {styles}", seed)
               for styles in sets for kind in ("softmax", "linucb")}
    episodes, notes = watch(held, problems, token)
    for name, text in (
            ("tokens.csv", as_csv(TOKENS, token_lines(notes, run.task.budgets))),
            ("lengths.csv", as_csv(LENGTHS, length_lines(held, problems, best, episodes))),
            ("generations.json", json.dumps(generations(held, problems, episodes, notes))),
            ("choices.csv", as_csv(CHOICES, choice_lines(held, bandits)))):
        write(f"{run.folder}/{name}", text)

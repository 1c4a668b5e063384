"""What a trained run does on held-out problems, token by token: small files for figures.

    python -m demos.remake runs/sums         # writes them again; eval.py writes them when it ends

| file | a line (an entry) | of |
|---|---|---|
| tokens.csv | a decision of the token policy | the first 100 held-out problems, each budget T |
| lengths.csv | how many completions have this length | the same; greedy, best static, token level |
| generations.json | a completion with all its tokens | the first 20; token level, budgets in turn |
| comparison.json | the same of one problem, under four policies | see `comparison` |
| choices.csv | the share of problems that get an arm | all held-out, by B, T and difficulty |

    p         next-token distribution of the LM          q = probs(logits, strategy), sampled from
    p_max     max p                                      entropy = H(p), entropy_after = H(q), nats
    value     v(o_t), the critic's                       p in generations.json: q(y_t), y_t sampled
    left      b_t = T - t                                action -1: the policy named none
    likeliest the LM's likeliest token, argmax p: what kind of place the decision stands at

There is one completion for each problem and budget, with arg-max actions and the run's seed: it is
sample 0 of what `eval.py` scores. A token with p_max > .95 is no decision: its action is 0, and the
critic was not trained there.

Shapes: R rows, V vocabulary, D inputs of the critic, P held-out problems.
"""
import csv
import io
import itertools
import json
from collections import Counter
from typing import Iterable, NamedTuple

import torch
from torch import Tensor, nn

from batch import State
from decode import GREEDY, Choice, Episode, Policy, Strategy, static
from experiment.adapters import arms_from_json
from experiment.held_out import HeldOut
from experiment.reward_table import Arm, collect, grade_fn
from experiment.run import Run
from features import P_MAX_COLUMN, distribution_features
from lm import LM
from pomdp import NO_ACTION, TEMPERATURES, TokenPolicy
from utils.detokenizer import Detokenizer
from utils.files import write
from utils.growing import GrowingRows
from utils.problem_files import Problem

PROBLEMS, SHOWN = 100, 20            # ours: tokens.csv stays below 1 MB, generations.json readable
TOKENS = ("policy", "problem", "budget", "step", "left", "p_max", "entropy", "entropy_after",
          "action", "temperature", "value", "likeliest")
LENGTHS = ("policy", "budget", "length", "count")
CHOICES = ("adapter", "styles", "parallel", "budget", "difficulty", "arm", "share")


# ---- the token policy, watched ------------------------------------------------------------------
class Note(NamedTuple):
    """One token of one completion."""
    row: int
    step: int
    tokens_left: int
    token: int
    action: int
    decision: int          # 0 or 1
    p: float               # of the token, in the distribution that it was sampled from
    p_max: float
    entropy: float
    entropy_after: float
    value: float
    likeliest: int         # a token


class TraceRecorder:
    """Notes every token that is sampled: an `on_step` of `rollout`. token: whose critic is asked.

    A static policy has no actions and no decisions.
    """

    def __init__(self, token: TokenPolicy):
        self.token = token
        self.noted = GrowingRows()                 # the fields of Note

    def __call__(self, state: State, choice: Choice, q: Tensor, y: Tensor) -> None:
        """q (R, V): what the tokens y (R,) were sampled from."""
        dist = distribution_features(state.logits)                                        # (R, 4)
        observation = self.token.observation(state.h, state.e, dist, state.tokens_left)  # (R, D)
        value = self.token.critic(observation).squeeze(1)                        # (R,)
        p = q.gather(1, y[:, None]).squeeze(1)                                   # (R,)
        entropy_after = torch.special.entr(q).sum(1)                             # -sum q log q
        action = torch.full_like(state.row, NO_ACTION) if choice.action is None else choice.action
        decision = torch.zeros_like(state.row)
        if choice.decision_rows is not None:
            decision[choice.decision_rows] = 1
        fields = [state.row, state.step, state.tokens_left, y, action, decision, p,
                  dist[:, P_MAX_COLUMN], dist[:, 0], entropy_after, value, state.logits.argmax(1)]
        self.noted.add(*fields)                # copies: the loop changes its state in place

    def notes(self, rows: int) -> list[list[Note]]:
        """The notes of each row of the call, in the order of its tokens."""
        notes: list[list[Note]] = [[] for _ in range(rows)]
        columns = [column.tolist() for column in self.noted.fields()]
        for note in map(Note, *columns):
            if note.tokens_left > 0:               # 0: the slot of a row that has ended
                notes[note.row].append(note)
        return notes


def watch(held: HeldOut, problems: list[Problem],
          token: TokenPolicy) -> tuple[list[Episode], list[list[Note]]]:
    """Sample 0 of every (problem, budget), in this order: episodes, and the notes of each."""
    task = held.run.task
    prompts = [task.prompt(p, held.style) for p in problems for _ in task.budgets]
    budgets = torch.tensor(task.budgets).repeat(len(problems))
    return sample_noted(held, token, token, prompts, budgets)


def sample_noted(held: HeldOut, token: TokenPolicy, policy: Policy, prompts: list[str],
                 budgets: Tensor) -> tuple[list[Episode], list[list[Note]]]:
    """Sample 0 of each prompt by a policy; budgets (N,). token: whose critic is asked."""
    run = held.run
    recorder = TraceRecorder(token)
    episodes = collect(run.lm, run.task, prompts, policy, budgets, 1, run.config.seed,
                       run.config.rows, on_step=recorder)
    return episodes, recorder.notes(len(prompts))


# ---- the five files -----------------------------------------------------------------------------
def token_lines(lm: LM, notes: list[list[Note]], budgets: tuple[int, ...]) -> Iterable[tuple]:
    for row, of_row in enumerate(notes):
        problem, t = divmod(row, len(budgets))
        for x in of_row:
            if x.decision:
                yield ("token level", problem, budgets[t], x.step, x.tokens_left, x.p_max,
                       x.entropy, x.entropy_after, x.action, TEMPERATURES[x.action], x.value,
                       lm.tokenizer.decode([x.likeliest]))


def length_lines(held: HeldOut, problems: list[Problem], best: list[Arm],
                 episodes: list[Episode]) -> Iterable[tuple]:
    """best: for each budget the best static arm. episodes: of `watch`."""
    budgets = held.run.task.budgets
    greedy = Arm(held.style, GREEDY)
    of_arm = {arm: static_lengths(held, problems, arm) for arm in {greedy, *best}}
    for t, T in enumerate(budgets):
        lengths = {"greedy": of_arm[greedy], "best static": of_arm[best[t]],
                   "token level": [len(x.tokens) for x in episodes[t::len(budgets)]]}
        for policy, found in lengths.items():
            counts = Counter(min(length, T) for length in found)
            for length, count in sorted(counts.items()):
                yield policy, T, length, count


def static_lengths(held: HeldOut, problems: list[Problem], arm: Arm) -> list[int]:
    """At the largest budget; a static strategy's completion under a smaller one is a prefix."""
    run = held.run
    prompts = [run.task.prompt(p, arm.style) for p in problems]
    budgets = torch.full((len(problems),), max(run.task.budgets))
    policy = static(torch.tensor([arm.strategy]))
    episodes = collect(run.lm, run.task, prompts, policy, budgets, 1, run.config.seed,
                       run.config.rows)
    return [len(x.tokens) for x in episodes]


def generations(held: HeldOut, problems: list[Problem], episodes: list[Episode],
                notes: list[list[Note]]) -> list[dict]:
    """The first SHOWN problems. episodes, notes: of `watch`."""
    run, entries = held.run, []
    T = len(run.task.budgets)
    for i, problem in enumerate(problems[:SHOWN]):
        row = i * T + i % T                            # budgets in turn
        entries.append(completion_entry(run, problem, held.style, episodes[row], notes[row]))
    return entries


def completion_entry(run: Run, problem: Problem, style: str, x: Episode, notes: list[Note]) -> dict:
    """One completion of a problem: its prompt, reward and tokens."""
    prompt = run.task.prompt(problem, style)
    answer = "" if run.task.runs_programs else problem.answer
    return {"prompt": prompt, "answer": answer, "budget": x.budget,
            "reward": grade_fn(run.lm, run.task, [problem], [prompt])(0, x.tokens),
            "truncated": x.truncated,
            "tokens": token_entries(run.lm, run.lm.encode(prompt), notes)}


def comparison(held: HeldOut, token: TokenPolicy, best: list[Arm], bandit: nn.Module,
               about: dict) -> list[dict]:
    """One problem under greedy, best static, the sequence level and the token level.

    At the middle budget. Of the shown problems that the token level alone solves it is the one with
    the most decisions (few may be luck), or else the first problem. best: as in `length_lines`.
    bandit, about: the softmax bandit's.
    """
    run = held.run
    problems = run.task.test[:SHOWN]
    t = len(run.task.budgets) // 2
    budgets = torch.full((len(problems),), run.task.budgets[t])
    choice = held.choice(bandit, about["parts"], 1, t)[:len(problems)]                  # (P,)
    chosen = arms_from_json(about["arms"])
    arms = {"greedy": [Arm(held.style, GREEDY)] * len(problems),
            "best static": [best[t]] * len(problems), "sequence level": [chosen[k] for k in choice],
            "token level": [Arm(held.style, Strategy(), token=True)] * len(problems)}

    # Every policy's completions of these problems
    found: list[list[dict]] = [[] for _ in problems]
    for name, own in arms.items():
        prompts = [run.task.prompt(p, arm.style) for p, arm in zip(problems, own)]
        policy = token if own[0].token else static(torch.tensor([arm.strategy for arm in own]))
        episodes, notes = sample_noted(held, token, policy, prompts, budgets)
        for i, arm in enumerate(own):
            entry = completion_entry(run, problems[i], arm.style, episodes[i], notes[i])
            found[i].append({"policy": name, "arm": "" if arm.token else str(arm), "problem": i,
                             **entry})

    def decisions_if_alone(entries: list[dict]) -> int:
        *others, ours = entries
        alone = ours["reward"] > max(x["reward"] for x in others)
        return sum(token["decision"] for token in ours["tokens"]) if alone else 0

    return max(found, key=decisions_if_alone)              # the first of those that are alike


def token_entries(lm: LM, prompt: list[int], notes: list[Note]) -> list[dict]:
    """The text of each token, special tokens included, and its numbers."""
    pieces, entries = Detokenizer(lm.tokenizer.decode, prompt), []
    for x in notes:
        text = pieces.add(x.token, last=x is notes[-1])
        entry = {"text": text, "action": x.action, "decision": bool(x.decision),
                 "left": x.tokens_left}
        for name in ("p", "p_max", "entropy", "value"):
            entry[name] = float(f"{getattr(x, name):.6g}")
        entries.append(entry)
    return entries


def choice_lines(held: HeldOut, bandits: dict) -> Iterable[tuple]:
    """bandits: (kind, styles) -> (bandit, metadata of its file). Shares of 0 are left out."""
    budgets, Bs = held.run.task.budgets, sorted({held.Bs[0], held.Bs[-1]})
    difficulties = [p.difficulty for p in held.run.task.test]
    total = Counter(difficulties)
    rising = sorted(total, key=lambda d: -1 if d is None else d)
    for (kind, styles), (bandit, about) in bandits.items():
        arms = arms_from_json(about["arms"])
        for B, t in itertools.product(Bs, range(len(budgets))):
            choice = held.choice(bandit, about["parts"], B, t).tolist()          # (P,)
            counts = Counter(zip(difficulties, choice))
            for d, arm in itertools.product(rising, range(len(arms))):
                if counts[d, arm]:
                    yield (kind, styles, B, budgets[t], "" if d is None else d, str(arms[arm]),
                           counts[d, arm] / total[d])


def as_csv(columns: tuple[str, ...], lines: Iterable[tuple]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow([f"{x:.6g}" if isinstance(x, float) else x for x in line])
    return text.getvalue()


def write_traces(held: HeldOut) -> None:
    """Writes the five files into the run's folder. One process is enough."""
    run, seed, sets = held.run, held.run.config.seed, held.sets
    problems = run.task.test[:PROBLEMS]
    token = held.load("token", seed)[0]
    bandits = {(kind, styles): held.load(f"{kind} {styles}", seed)
               for styles in sets for kind in ("softmax", "linucb")}
    best = next(iter(sets.values())).best_static[0]              # of the first style, at B = 1
    episodes, notes = watch(held, problems, token)
    softmax = bandits["softmax", list(sets)[-1]]
    files = {
        "tokens.csv": as_csv(TOKENS, token_lines(run.lm, notes, run.task.budgets)),
        "lengths.csv": as_csv(LENGTHS, length_lines(held, problems, best, episodes)),
        "generations.json": json.dumps(generations(held, problems, episodes, notes)),
        "comparison.json": json.dumps(comparison(held, token, best, *softmax)),
        "choices.csv": as_csv(CHOICES, choice_lines(held, bandits))}
    for name, text in files.items():
        write(f"{run.folder}/{name}", text)

"""Samples a completion of one prompt with a trained run, and shows which action took each token.

    python sample.py "7+8+5+9:"                          # the token level of runs/sums
    python sample.py "7+8+5+9:" --budget 18 --compare    # and greedy, and the best static strategy
    python sample.py --problem 3 --compare               # a held-out problem, the sequence level
    python sample.py "7+8:" --run OWNER/NAME             # a run that was uploaded to the hub

A token at which the policy decides is coloured by its action, or, if the output is no colour
terminal, has the action's number behind it: 7₀. All other tokens are greedy (p_max > .95).
"""
from utils.cli import check_options, run_program  # first: Ctrl-C is caught from here on
from experiment.config import QUICK, parse_sample

if __name__ == "__main__":                       # before torch loads: a mistake is told at once
    check_options("sample.py", parse_sample)

import os
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from bandit import best_arm
from batch import State
from decode import GREEDY, Choice, Episode, Policy, generate, static
from experiment.adapters import arms_from_json, load_adapter, run_folder
from experiment.load import load, load_lm
from experiment.reward_table import embed_prompts, grade_fn
from experiment.run import Run, read_config
from lm import LM
from pomdp import DECISION_P_MAX, TEMPERATURES, action_names
from report.run_data import ending, verdict
from utils.detokenizer import Detokenizer
from utils.errors import UserError
from utils.files import read_json
from utils.problem_files import Problem

COLOURS = (32, 36, 33, 31, 35, 34)      # ANSI codes of actions 0, 1 ..: green for greedy
MARKS = "₀₁₂₃₄₅₆₇₈₉"                    # in place of colours
TAIL = 300                              # characters of a prompt that are shown (ours: one question)


# ---- printing a completion while it is sampled --------------------------------------------------
@dataclass
class Stream:
    """An on_step for one row: prints `start`, then each token as soon as it is sampled."""
    lm: LM
    colour: bool
    prompt: str
    start: str = ""

    def __post_init__(self) -> None:
        self.detokenizer = Detokenizer(self.lm.decode, self.lm.encode(self.prompt))

    def __call__(self, state: State, choice: Choice, p: Tensor, y: Tensor) -> None:
        # The text that the new token y adds
        is_end = bool(torch.isin(y, self.lm.ends))
        out_of_tokens = int(state.tokens_left) == 1
        piece = self.detokenizer.add(int(y), last=is_end or out_of_tokens)

        # The action, if the policy has made a decision at this token
        action = None
        decided = choice.decision_rows is not None and len(choice.decision_rows) > 0
        if choice.action is not None and decided:
            action = int(choice.action)

        print(self.start + coloured(piece, action, self.colour), end="", flush=True)
        self.start = ""


def coloured(piece: str, action: int | None, colour: bool) -> str:
    """The piece in the colour of its action, or with the action's mark behind it."""
    if action is None or not piece:
        return piece
    if colour:
        code = COLOURS[action % len(COLOURS)]
        return f"\033[{code}m{piece}\033[0m"
    return piece + MARKS[action % len(MARKS)]


def legend(colour: bool) -> str:
    names = [coloured(name, i, colour) for i, name in enumerate(action_names(TEMPERATURES))]
    no_decision = f"no decision (token level: p_max > {DECISION_P_MAX:g}, greedy)"
    return f"legend: {', '.join(names)}; unmarked: {no_decision}"


def summary(run: Run, episode: Episode, prompt: str, problem: Problem | None) -> str:
    """How many tokens it took, and, if it answers a problem, whether the answer is right."""
    how = ending(len(episode.tokens), episode.budget, episode.truncated)
    if problem is None:
        return how
    reward = grade_fn(run.lm, run.task, [problem], [prompt])(0, episode.tokens)
    answer = "" if run.task.runs_programs else problem.answer
    return f"{how}; {verdict(reward, answer)}"


def print_completions(run: Run, policies: dict[str, tuple[str, Policy]], T: int, seed: int,
                      problem: Problem | None) -> None:
    """Samples one completion for each (prompt, policy): same seed, so that policies which share a
    prompt share the random numbers."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    colour = sys.stdout.isatty() and not plain
    for label, (prompt, policy) in policies.items():
        start = prompt if len(prompt) <= TAIL else "… " + prompt[-TAIL:]
        if label:
            start = f"{label}:\n{start}"
        stream = Stream(run.lm, colour, prompt, start)
        episode, = generate(run.lm, [prompt], policy, T, seed=seed, on_step=stream)
        print("\n" + summary(run, episode, prompt, problem))
        if label:
            print()
    print(legend(colour))


# ---- the policies that --compare shows ----------------------------------------------------------
def policies_to_compare(run: Run, token_policy: Policy, prompt: str, T: int, budgets: list[int],
                        problem: Problem | None) -> dict[str, tuple[str, Policy]]:
    """label -> (prompt, policy), with the choices that eval.py evaluates at B = 1.

    The sequence level may ask the question in another style, so it needs the problem.
    """
    sets = read_json(f"{run.folder}/selection.json")["sets"]

    # The best static strategy was chosen for each of the budgets: take the budget nearest to T
    distance = [abs(budget - T) for budget in budgets]
    nearest = distance.index(min(distance))
    first_set = next(iter(sets.values()))
    best = arms_from_json(first_set["best_static"][0])[nearest]           # [0]: of B = 1
    policies = {
        "greedy": (prompt, static(torch.tensor([GREEDY]))),
        f"best static at T = {budgets[nearest]}, {best.strategy}":
            (prompt, static(torch.tensor([best.strategy]))),
        "token level": (prompt, token_policy)}
    if problem is None:
        return policies

    # The sequence level: the bandit's arm for this prompt, out of the arms of all styles
    bandit, about = load_adapter(run.file(f"softmax {list(sets)[-1]}", run.config.seed), run.lm)
    style = run.config.all_styles()[0]
    e = embed_prompts(run.lm, run.task, [problem], style, 1)                               # (1, d)
    chosen = int(best_arm(bandit, e, 1, T, budgets[-1], about["parts"]))
    arm = arms_from_json(about["arms"])[chosen]
    policies[f"sequence level, {arm}"] = (run.task.prompt(problem, arm.style),
                                          static(torch.tensor([arm.strategy])))
    return policies


# ---- the program --------------------------------------------------------------------------------
def note_on_prompt(folder: str, prompt: str) -> str:
    """What to say of a prompt that looks like none of the run's; "" where nothing is known.

    The policy was trained on prompts that all end alike, as "7+8+5+9:" ends with a colon.
    """
    path = os.path.join(folder, "generations.json")
    entries = read_json(path) if os.path.exists(path) else []
    usual = entries[0]["prompt"] if entries else ""
    if usual[-1:] in prompt:
        return ""
    return f"note: the run's own prompts end otherwise, such as {usual[-TAIL:]!r}"


def main() -> None:
    args = parse_sample()
    folder = run_folder(args.run)
    config = read_config(folder)
    config.model = args.model or config.model

    # The LM and the prompt: given by the user, or made from a held-out problem of the run's task.
    # For a given prompt no task is loaded, since the files with its problems may be elsewhere
    problem = None
    note = ""
    if args.problem is None:
        lm = load_lm(config)
        task = None
        prompt = args.prompt
        note = note_on_prompt(folder, prompt)
    else:
        lm, task = load(config)
        if not 0 <= args.problem < len(task.test):
            raise UserError(f"--problem is 0 to {len(task.test) - 1}, not {args.problem}")
        problem = task.test[args.problem]
        prompt = task.prompt(problem, config.all_styles()[0])
    # Sampling needs no reward table, and without a problem nothing asks for the task
    run = Run(lm, task, config, folder, None)      # type: ignore[arg-type]

    # The token policy; loading it also sets how the LM is asked (chat template, stop string)
    token_policy, about = load_adapter(run.file("token", config.seed), lm)
    T = about["horizon"] if args.budget is None else args.budget
    policies = {"": (prompt, token_policy)}
    if args.compare:
        policies = policies_to_compare(run, token_policy, prompt, T, about["budgets"], problem)
    print_completions(run, policies, T, args.seed, problem)

    if note:
        print(note)
    if config.iterations <= QUICK["iterations"]:
        print(f"note: {folder} was trained for {config.iterations} iterations (--quick): its "
              "policies have learned next to nothing")
    if args.compare:
        print(f"one draw each: {folder}/results.txt has the rates")
    if T > about["horizon"]:
        print(f"trained up to T = {about['horizon']}: more tokens left count as that many")
    if args.compare and problem is None:
        print("sequence level: with --problem only, since it may ask the question in another style")


if __name__ == "__main__":
    run_program("sample.py", main)

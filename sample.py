"""What decode.py prints: texts as they are sampled, coloured by action, policies below each other.

    python sample.py "7+8+5+9:" --budget 18 --compare          # greedy, best static, token level
    python sample.py --problem 3 --compare                     # the sequence level and verdicts too

Deviations from the paper: none; this is display.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import os
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from bandit import best_arm
from batch import State
from decode import GREEDY, Choice, Episode, Policy, generate, static
from experiment.adapters import arms_from_json, load_adapter, run_folder
from experiment.config import load
from experiment.reward_table import embed_prompts
from experiment.run import Run, read_config
from lm import LM
from pomdp import DECISION_P_MAX, TEMPERATURES, action_names
from utils.detokenizer import Pieces
from utils.errors import UserError
from utils.files import read_json
from utils.options import Parser
from utils.problem_files import Problem

COLOURS = (32, 36, 33, 31, 35, 34)          # green for greedy, then hotter; from the 7th on again
MARKS = "₀₁₂₃₄₅₆₇₈₉"                                               # without a colour terminal
TAIL = 300         # characters of a prompt that are shown (ours: a question, but no examples)


# ---- one text -----------------------------------------------------------------------------------


@dataclass
class Stream:
    """Prints `start` and behind it each token of a text's one row as it is drawn: an `on_step`."""
    lm: LM
    colour: bool
    start: str = ""

    def __post_init__(self) -> None:
        self.pieces = Pieces(self.lm.text)

    def __call__(self, state: State, choice: Choice, p: Tensor, y: Tensor) -> None:
        last = int(state.tokens_left) == 1 or bool(torch.isin(y, self.lm.ends))
        piece, action = self.pieces.add(int(y), last), None
        if choice.action is not None and choice.decision_rows is not None and len(choice.decision_rows):
            action = int(choice.action)
        print(self.start + coloured(piece, action, self.colour), end="", flush=True)
        self.start = ""


def coloured(piece: str, action: int | None, colour: bool) -> str:
    """In the colour of a decision's action, or with a mark behind it."""
    if action is None or not piece:
        return piece
    if colour:
        return f"\033[{COLOURS[action % len(COLOURS)]}m{piece}\033[0m"
    return piece + MARKS[action % len(MARKS)]


def legend(colour: bool) -> str:
    named = enumerate(action_names(TEMPERATURES))
    return ("legend: " + ", ".join(coloured(name, i, colour) for i, name in named)
            + f"; unmarked: p_max > {DECISION_P_MAX:g}, greedy")


def result(run: Run, episode: Episode, problem: Problem | None) -> str:
    """Tokens used, whether the text came to its end, and the verdict where there is a problem."""
    told = (f"{len(episode.tokens)} of {episode.budget} tokens"
            + (", ran out" if episode.truncated else ""))
    if problem:
        right = run.task.grade(run.lm.text(episode.tokens), problem)
        answer = "" if run.task.programs else f", the right answer is {problem.answer}"
        told += f"; {'right' if right else 'wrong'}{answer}"
    return told


# ---- several policies ---------------------------------------------------------------------------
def contenders(run: Run, token: Policy, prompt: str, T: int, budgets: list[int],
               problem: Problem | None) -> dict[str, tuple[str, Policy]]:
    """label -> (prompt, policy), as `eval.py` compares them at B = 1 and the trained budget next to
    T. The sequence level may ask in another style, and so needs a problem."""
    t = min(range(len(budgets)), key=lambda i: abs(budgets[i] - T))
    sets = read_json(f"{run.folder}/selection.json")["sets"]
    best = arms_from_json(next(iter(sets.values()))["best_static"][0])[t]
    found = {"greedy": (prompt, static(torch.tensor([GREEDY]))),
             f"best static at T = {budgets[t]}, {best.strategy}":
                 (prompt, static(torch.tensor([best.strategy]))),
             "token level": (prompt, token)}
    if problem:
        bandit, about = load_adapter(run.file(f"softmax {list(sets)[-1]}", run.config.seed), run.lm)
        e = embed_prompts(run.lm, run.task, [problem], run.config.all_styles()[0], 1)
        arm = arms_from_json(about["arms"])[int(best_arm(bandit, e, 1, T, budgets[-1],
                                                         about["parts"]))]
        found[f"sequence level, {arm}"] = (run.task.prompt(problem, arm.style),
                                           static(torch.tensor([arm.strategy])))
    return found


def show(run: Run, policies: dict[str, tuple[str, Policy]], T: int, seed: int,
         problem: Problem | None) -> None:
    """Every policy's text with the same random numbers, one below the other."""
    colour = (sys.stdout.isatty() and "NO_COLOR" not in os.environ
              and os.environ.get("TERM") != "dumb")
    for label, (prompt, policy) in policies.items():
        start = f"{label}:\n" * bool(label) + "… " * (len(prompt) > TAIL) + prompt[-TAIL:]
        episode, = generate(run.lm, [prompt], policy, T, seed=seed,
                            on_step=Stream(run.lm, colour, start))
        print(f"\n{result(run, episode, problem)}" + "\n" * bool(label))
    print(legend(colour))


def main() -> None:
    parser = Parser(description="Decode one prompt with a trained token policy.")
    parser.add_argument("prompt", nargs="?", help='such as "7+8+5+9:"')
    parser.add_argument("--problem", type=int, help="in its place, a held-out problem by number")
    parser.add_argument("--run", default="runs/sums", help="run folder or hub id (runs/sums)")
    parser.add_argument("--model", help="the LM, where it is not at the place that the run names")
    parser.add_argument("--budget", type=int, help="tokens (default: the run's largest)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--compare", action="store_true", help="beside greedy and best static")
    args = parser.parse_args()
    if (args.prompt is None) == (args.problem is None):
        raise UserError("give a prompt, or --problem and a number")
    folder = run_folder(args.run)
    config = read_config(folder)
    config.model = args.model or config.model
    problem, prompt = None, args.prompt
    lm, task = (config.load_lm(), None) if prompt is not None else load(config)
    if task:
        if not 0 <= args.problem < len(task.test):
            raise UserError(f"--problem is 0 to {len(task.test) - 1}, not {args.problem}")
        problem = task.test[args.problem]
        prompt = task.prompt(problem, config.all_styles()[0])
    # No task without --problem, and no rewards: what follows asks for neither.
    run = Run(lm, task, config, folder, None)      # type: ignore[arg-type]
    adapter, about = load_adapter(run.file("token", config.seed), lm)
    T = about["horizon"] if args.budget is None else args.budget
    policies = {"": (prompt, adapter)}
    if args.compare:
        policies = contenders(run, adapter, prompt, T, about["budgets"], problem)
    show(run, policies, T, args.seed, problem)
    if T > about["horizon"]:
        print(f"trained up to T = {about['horizon']}: more tokens left count as that many")
    if args.compare and not problem:
        print("sequence level: with --problem only, since its arms may ask in another style")


if __name__ == "__main__":
    run_program("sample.py", main)

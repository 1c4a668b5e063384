"""What the token policy sees at each token of a completion.

    python -m demos.observation
    python -m demos.observation "12+9+4:" --budget 20
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import math

import torch
from torch import Tensor

from batch import State
from decode import GREEDY, Choice, rollout
from demos.text_plots import bar, column
from features import distribution_features, soft_thresholds
from lm import LM
from pomdp import DECISION_P_MAX
from utils.options import Parser


def line_of(lm: LM, logits: Tensor, tokens_left: Tensor, budget: int) -> str:
    """One row's logits (V,) and tokens left (1,), in words and bars."""
    entropy, *largest = distribution_features(logits[None])[0].tolist()
    first, second = (lm.tokenizer.decode([y]) for y in logits.topk(2).indices)
    thresholds = soft_thresholds(tokens_left, budget)[0].tolist()
    line = f"{first:5} {entropy:5.2f} {bar(entropy / math.log(2), 12)}"
    line += "".join(f"{p:6.2f}" for p in largest)
    line += f"{int(tokens_left):6}  " + "".join(column(x) for x in thresholds)
    if largest[0] <= DECISION_P_MAX:
        line += f"  a decision: {first} or {second}"
    return line


def show(prompt: str, budget: int) -> list[str]:
    """A line for each token of the small LM's greedy completion."""
    lm = LM.load("tiny", "cpu")
    lines = []

    def policy(state: State) -> Choice:
        lines.append(line_of(lm, state.logits[0], state.tokens_left, budget))
        return Choice(torch.tensor([GREEDY]), filters=False)

    rollout(lm, [lm.encode(prompt)], policy, torch.tensor([budget]), torch.tensor([0]))
    return lines


def main() -> None:
    parser = Parser(prog="demos.observation",
                    description="What the token policy sees at each token of a completion.")
    parser.add_argument("prompt", nargs="?", default="7+8+5:", help='such as "7+8+5:"')
    parser.add_argument("--budget", type=int, default=24, help="tokens (default 24)")
    args = parser.parse_args()
    lines = show(args.prompt, args.budget)
    print("token entropy             three largest p  left  soft thresholds of left")
    print("\n".join(lines))


if __name__ == "__main__":
    run_program("demos.observation", main)

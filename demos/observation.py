"""What the token policy sees at each token of a text.

    python -m demos.observation
    python -m demos.observation "12+9+4:" --budget 20
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import math

import torch

from batch import State
from decode import GREEDY, Choice, rollout
from demos.text_plots import bar, column
from features import distribution, steps
from lm import LM
from pomdp import DECISION_P_MAX
from utils.options import Parser


def show(prompt: str, budget: int) -> list[str]:
    """A line for each token of the embedded LM's greedy text."""
    lm, lines = LM.load("tiny", "cpu"), []

    def policy(state: State) -> Choice:
        entropy, *largest = distribution(state.logits)[0].tolist()
        first, second = (lm.tokenizer.decode([y]) for y in state.logits[0].topk(2).indices)
        lines.append(f"{first:5} {entropy:5.2f} {bar(entropy / math.log(2), 12)}"
                     + "".join(f"{p:6.2f}" for p in largest) + f"{int(state.tokens_left):6}  "
                     + "".join(map(column, steps(state.tokens_left, budget)[0].tolist()))
                     + f"  the policy decides: {first} or {second}" * (largest[0] <= DECISION_P_MAX))
        return Choice(torch.tensor([GREEDY]), filters=False)

    rollout(lm, [lm.encode(prompt)], policy, torch.tensor([budget]), torch.tensor([0]))
    return lines


def main() -> None:
    parser = Parser(prog="demos.observation", description="What the token policy sees of a text.")
    parser.add_argument("prompt", nargs="?", default="7+8+5:", help='such as "7+8+5:"')
    parser.add_argument("--budget", type=int, default=24, help="tokens (default 24)")
    args = parser.parse_args()
    print("\n".join(["token   H, entropy         three largest p  left  steps(left)"]
                    + show(args.prompt, args.budget)))


if __name__ == "__main__":
    run_program("demos.observation", main)

"""What the sampler draws, beside the exact probabilities.

    python -m demos.sampler                                  # 4 seconds
"""
from utils.cli import run_program                     # first: Ctrl-C while torch loads gets a line

import torch

from decode import Strategy, probs, sample
from demos.text_plots import bar
from utils.options import Parser
from utils.random_streams import prompt_key, row_keys, uniforms


def demonstrate(draws: int = 20_000) -> float:
    """Prints the shares of six tokens, and p; the largest difference, in standard errors."""
    strategies = [Strategy(), Strategy(0.5), Strategy(1.25, top_k=4), Strategy(top_p=0.8),
                  Strategy(1.5, min_p=0.3)]
    p = probs(torch.linspace(2, -1, 6).expand(5, 6), torch.tensor(strategies))       # (5, V)
    keys = row_keys(0, torch.tensor(prompt_key("six tokens")), torch.arange(draws))
    drawn = torch.zeros_like(p)
    for i, row in enumerate(p):
        y = sample(row.expand(draws, 6), uniforms(keys, torch.tensor(i), 0))         # (draws,)
        drawn[i] = y.bincount(minlength=6) / draws
    print(f"of {draws:,} draws, and the exact probability")
    print("".join(f"{str(s):20}" for s in strategies))
    for shares, exact in zip(drawn.T.tolist(), p.T.tolist()):
        print(" ".join(f"{bar(f, 8)}{f:5.3f} {q:5.3f}" for f, q in zip(shares, exact)))
    worst = float(((drawn - p).abs() / (p * (1 - p) / draws).sqrt()).nan_to_num(0).max())
    print(f"largest difference: {worst:.1f} standard errors")
    return worst


def main() -> None:
    Parser(prog="demos.sampler", description="What the sampler draws.").parse_args()
    demonstrate()


if __name__ == "__main__":
    run_program("demos.sampler", main)

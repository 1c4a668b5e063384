"""What AutoDeco's heads learn where the right temperatures are known.

    python -m demos.autodeco_toy                             # 8 seconds
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import torch
from torch import Tensor

from baselines.autodeco import fit_autodeco
from utils.options import Parser

TEMPERATURES = (0.5, 1.0, 1.5)


def tokens_at(temperature: Tensor, d: int = 16, vocabulary: int = 12,
              seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """h (K, d), logits (K, V), and tokens (K,) sampled at `temperature` (K,), which h shows."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(len(temperature), d, generator=generator)
    h[:, 0] = 10 * (temperature - 1)
    logits = 1.5 * torch.randn(len(temperature), vocabulary, generator=generator)
    p = (logits / temperature[:, None]).softmax(-1)
    return h, logits, torch.multinomial(p, 1, generator=generator).squeeze(1)


def main() -> None:
    Parser(prog="demos.autodeco_toy",
           description="What the heads learn where the right temperature is known.").parse_args()
    true = torch.tensor(TEMPERATURES).repeat(2000)
    h, logits, target = tokens_at(true)
    heads = fit_autodeco(h, logits.__getitem__, target, torch.ones(len(true)), steps=400)
    tau, P = heads.temperature_and_top_p(h)
    print("AutoDeco: the temperature at which tokens were sampled, and what the heads predict")
    for t in TEMPERATURES:
        there = true == t
        print(f"sampled at {t:.2f}:  temperature {tau[there].mean():.2f}, "
              f"top-p {P[there].mean():.2f}")


if __name__ == "__main__":
    run_program("demos.autodeco_toy", main)

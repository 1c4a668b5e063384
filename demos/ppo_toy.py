"""A language model of three words, whose best temperatures are known exactly: for pomdp.py.

    fork     work on (doubt .6), or answer at once (right .25, wrong .15)
    doubt    go on (loop .6), or give up (wrong .4)
    loop     say the same again (loop .75), or answer (right .25)

The hidden state is the last word. A text starts at a fork with b = 1 .. 12 tokens, each as likely,
and ends with "right" or "wrong", or without tokens. No one temperature suits: greedy is best in
doubt and never leaves a loop, and at a fork it is best where the work fits into the tokens left.

Shapes: E texts, A temperatures; y is one of 5 words, w one of the first 3.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

from typing import Callable, Sequence

from functools import partial

import torch
from torch import Tensor, nn

from batch import State
from decode import Episode, EpisodeRecorder, Strategy, probs, sample
from demos.text_plots import curves
from features import distribution
from pomdp import TEMPERATURES, TokenPolicy, ppo_update, reinforce_update
from utils.options import Parser

WORDS = ("fork", "doubt", "loop", "right", "wrong")
NEXT = torch.tensor([[0, 0.6, 0, 0.25, 0.15], [0, 0, 0.6, 0, 0.4], [0, 0, 0.75, 0.25, 0]])
HORIZON = 12


def exact(temperatures: Sequence[float], pi: Tensor | None = None) -> tuple[Tensor, float]:
    """Q (b, w, a) of the best policy, and its reward; by dynamic programming. Or those of pi.

    Q_b(w, a) = sum_y p(y|w, a) V_{b-1}(y),    V(right) = 1,  V(wrong) = V_0(w) = 0
    V_b(w) = max_a Q_b(w, a);  of a policy pi (b, w, a):  sum_a pi_b(a|w) Q_b(w, a)
    """
    each = torch.tensor([Strategy(t) for t in temperatures])
    p = torch.stack([probs(row.log().expand(len(each), -1), each) for row in NEXT])     # (3, A, 5)
    end = torch.tensor([1.0, 0])
    Q, V = [], [torch.cat([torch.zeros(3), end])]
    for b in range(HORIZON):
        Q.append(p @ V[b])
        V.append(torch.cat([Q[b].amax(1) if pi is None else (pi[b] * Q[b]).sum(1), end]))
    return torch.stack(Q), float(torch.stack(V[1:])[:, 0].mean())


def texts(policy: TokenPolicy, E: int, seed: int) -> list[Episode]:
    """E sampled texts with rewards: `decode.rollout` for an LM without keys and values.

    policy: a token policy of d = 3 at this horizon.
    """
    generator = torch.Generator().manual_seed(seed)
    left = torch.randint(1, HORIZON + 1, (E,), generator=generator)
    draws = torch.rand(E, 2, HORIZON, generator=generator)
    record = EpisodeRecorder(left, 1, ends=torch.tensor([3, 4]))
    acting, rows = partial(policy, explore=True), torch.arange(E)
    w, reward, length = torch.zeros(E).long(), torch.zeros(E), torch.zeros(E).long()
    for t in range(int(left.max())):
        s = State(rows, left, NEXT[w].log(), torch.eye(3)[w], torch.zeros(E, 3),
                  torch.full((E,), t), rows, draws)
        choice = acting(s)
        y = sample(probs(s.logits, choice.strategies), s.uniform(0))
        record.add(s, y, choice)
        reward[(y == 3) & (left > 0)] = 1
        length += left > 0
        left, w = (left - 1).clamp(min=0) * (y < 3), y.clamp(max=2)
    record.lengths = length.tolist()
    episodes = record.episodes(torch.zeros(E, 3))
    for x, r in zip(episodes, reward.tolist()):
        x.reward = r
    return episodes


def chances(policy: TokenPolicy) -> Tensor:
    """pi (b, w, a) of a token policy, for every observation that there is."""
    left, w = torch.cartesian_prod(torch.arange(HORIZON) + 1, torch.arange(3)).unbind(1)
    obs = policy.observation(torch.eye(3)[w], torch.zeros(len(w), 3), distribution(NEXT[w].log()),
                             left)
    return policy.actor(obs).softmax(-1).view(HORIZON, 3, -1)


@torch.no_grad()
def look(policy: TokenPolicy) -> tuple[Tensor, float]:
    """pi (b, word, action) on the toy, and its exact reward."""
    pi = chances(policy)
    return pi, exact(TEMPERATURES, pi)[1]


def learn(update: Callable[..., dict], iterations: int = 30, E: int = 128,
          lr: float = 4e-3) -> tuple[Tensor, list[float]]:
    """pi after `update`s on E texts each, and the rewards on the way; lr falls as in training."""
    torch.manual_seed(0)
    policy = TokenPolicy(d=3, horizon=HORIZON)
    optimizer = torch.optim.Adam(policy.parameters(), lr=lr, eps=1e-5, fused=True)
    curve = [look(policy)[1]]
    for i in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - 0.9 * i / iterations)
        with torch.no_grad():
            episodes = texts(policy, E, seed=i)
        update(policy, optimizer, episodes, seed=i, entropy_bonus=0.01)
        curve.append(look(policy)[1])
    return look(policy)[0], curve


def main() -> None:
    Parser(prog="demos.ppo_toy", description="PPO against an exact optimum.").parse_args()
    Q, optimum = exact(TEMPERATURES)
    (pi, curve), (_, other) = learn(ppo_update), learn(reinforce_update)
    static = max(exact([t])[1] for t in TEMPERATURES)
    sure = exact(TEMPERATURES, nn.functional.one_hot(pi.argmax(-1)).float())[1]
    lines = {"optimum": [optimum], "PPO": curve, "REINFORCE": other, "static": [static]}
    print(f"reward after 0 .. {len(curve) - 1} updates: "
          + ", ".join(f"{name} {line[-1]:.3f}" for name, line in lines.items())
          + f" (the best one temperature)\n{curves(lines)}\n\n"
          f"the best action, and PPO's most likely one; with these alone the reward is {sure:.3f}\n"
          + "tokens left".ljust(14) + "".join(f"{b:5}" for b in range(1, len(Q) + 1)))
    for w, word in enumerate(WORDS[:3]):
        for name, scores in (("optimum", Q[:, w]), ("PPO", pi[:, w])):
            cells = [f"{TEMPERATURES[int(s.argmax())]:5g}" if s.amax() > s.amin() else "    -"
                     for s in scores[:len(Q) - w]]       # what is left at most; -: all are alike
            print(f"{word:6}{name:8}" + "".join(cells))


if __name__ == "__main__":
    run_program("demos.ppo_toy", main)

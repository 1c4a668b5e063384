"""A language model of three words whose best temperatures are known exactly: a test of pomdp.py.

    python -m demos.ppo_toy                                  # 6 seconds

    fork     work on (doubt .6), or answer at once (right .25, wrong .15)
    doubt    go on (loop .6), or give up (wrong .4)
    loop     say the same again (loop .75), or answer (right .25)

The hidden state is the last word. A completion starts at a fork with b = 1 .. 12 tokens left, each
equally likely, and ends with "right", with "wrong", or when no tokens are left. No single
temperature is good everywhere: greedy is best in doubt and never leaves a loop; at a fork it is
best if the work fits into the tokens left.

Shapes: E episodes, A temperatures; y is one of the 5 words, w one of the first 3.
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

from functools import partial
from typing import Callable, Sequence

import torch
from torch import Tensor, nn

from batch import State
from decode import Episode, EpisodeRecorder, Strategy, probs, sample
from demos.text_plots import curves
from features import distribution_features
from pomdp import TEMPERATURES, TokenPolicy, ppo_update, reinforce_update
from utils.options import Parser

WORDS = ("fork", "doubt", "loop", "right", "wrong")
RIGHT = 3
NEXT = torch.tensor([[0, 0.6, 0, 0.25, 0.15],          # p(y|w) at temperature 1, (3, 5)
                     [0, 0, 0.6, 0, 0.4],
                     [0, 0, 0.75, 0.25, 0]])
HORIZON = 12


def exact(temperatures: Sequence[float], pi: Tensor | None = None) -> tuple[Tensor, float]:
    """Q (b, w, a) and the mean reward of the best policy, or of a policy pi (b, w, a).

    Dynamic programming over the tokens left, with values V of the 5 words:
        V(right) = 1,  V(wrong) = 0,  V_0(w) = 0,    Q_b(w, a) = sum_y p(y|w, a) V_{b-1}(y)
        V_b(w) = max_a Q_b(w, a),  or of a policy:  sum_a pi_b(a|w) Q_b(w, a)
    """
    strategies = torch.tensor([Strategy(temperature) for temperature in temperatures])
    p = torch.stack([probs(row.log().expand(len(strategies), -1), strategies) for row in NEXT])
    end = torch.tensor([1.0, 0.0])                                                # right, wrong
    V = [torch.cat([torch.zeros(3), end])]
    Q = []
    for b in range(HORIZON):
        Q.append(p @ V[b])                                    # (3, A, 5) @ (5,) -> (3, A)
        values = Q[b].amax(1) if pi is None else (pi[b] * Q[b]).sum(1)            # (3,)
        V.append(torch.cat([values, end]))
    reward = torch.stack(V[1:])[:, 0].mean()                  # at a fork, over b = 1 .. HORIZON
    return torch.stack(Q), float(reward)


def sample_episodes(policy: TokenPolicy, E: int, seed: int) -> list[Episode]:
    """E sampled episodes with rewards: `decode.rollout` for an LM without keys and values."""
    generator = torch.Generator().manual_seed(seed)
    tokens_left = torch.randint(1, HORIZON + 1, (E,), generator=generator)
    draws = torch.rand(E, 2, HORIZON, generator=generator)
    record = EpisodeRecorder(tokens_left, 1, ends=torch.tensor([3, 4]))
    exploring = partial(policy, explore=True)
    rows = torch.arange(E)
    w = torch.zeros(E, dtype=torch.long)                                          # all at a fork
    reward = torch.zeros(E)
    length = torch.zeros(E, dtype=torch.long)
    e = torch.zeros(E, 3)                                                         # no prompt
    for t in range(int(tokens_left.max())):
        step = torch.full((E,), t)
        s = State(rows, tokens_left, NEXT[w].log(), torch.eye(3)[w], e, step, rows, draws)
        choice = exploring(s)
        y = sample(probs(s.logits, choice.strategies), s.uniform(0))
        record.add(s, y, choice)

        # Count the token, then go on where it is none of the two ends
        running = tokens_left > 0
        reward[(y == RIGHT) & running] = 1
        length += running
        tokens_left = (tokens_left - 1).clamp(min=0) * (y < 3)
        w = y.clamp(max=2)
    record.lengths = length.tolist()
    episodes = record.episodes(e)
    for episode, r in zip(episodes, reward.tolist()):
        episode.reward = r
    return episodes


def policy_table(policy: TokenPolicy) -> Tensor:
    """pi (b, w, a) of a token policy, for all observations that there are."""
    b, w = torch.cartesian_prod(torch.arange(1, HORIZON + 1), torch.arange(3)).unbind(1)
    dist = distribution_features(NEXT[w].log())
    obs = policy.observation(torch.eye(3)[w], torch.zeros(len(w), 3), dist, b)
    return policy.actor(obs).softmax(-1).view(HORIZON, 3, -1)


@torch.no_grad()
def evaluate(policy: TokenPolicy) -> float:
    """The exact mean reward of a token policy that samples its actions."""
    return exact(TEMPERATURES, policy_table(policy))[1]


def fit(update: Callable[..., dict], iterations: int = 30, E: int = 128,
        lr: float = 4e-3) -> tuple[Tensor, list[float]]:
    """pi after `iterations` updates on E episodes each, and the rewards on the way."""
    torch.manual_seed(0)
    policy = TokenPolicy(d=3, horizon=HORIZON)
    optimizer = torch.optim.Adam(policy.parameters(), lr=lr, eps=1e-5, fused=True)
    curve = [evaluate(policy)]
    for i in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - 0.9 * i / iterations)                         # as in train.py
        with torch.no_grad():
            episodes = sample_episodes(policy, E, seed=i)
        update(policy, optimizer, episodes, seed=i, entropy_bonus=0.01)
        curve.append(evaluate(policy))
    return policy_table(policy).detach(), curve


def print_best_actions(name: str, w: int, scores: Tensor) -> None:
    """A line of the temperatures with the highest of scores (b, a), "-" where all are alike."""
    cells = []
    for row in scores[:len(scores) - w]:              # each word before this one took a token
        best = TEMPERATURES[int(row.argmax())]
        cells.append(f"{best:5g}" if row.amax() > row.amin() else "    -")
    print(f"{WORDS[w]:6}{name:8}" + "".join(cells))


def main() -> None:
    Parser(prog="demos.ppo_toy", description="PPO beside an exact optimum.").parse_args()
    Q, optimum = exact(TEMPERATURES)
    static = max(exact([temperature])[1] for temperature in TEMPERATURES)
    pi, ppo = fit(ppo_update)
    _, reinforce = fit(reinforce_update)
    print(f"mean reward: optimum {optimum:.3f}, PPO {ppo[-1]:.3f}, REINFORCE {reinforce[-1]:.3f}, "
          f"static (the best single temperature) {static:.3f}\n"
          f"\nafter 0 .. {len(ppo) - 1} updates:")
    print(curves({"optimum": [optimum], "PPO": ppo, "REINFORCE": reinforce, "static": [static]}))

    most_likely = nn.functional.one_hot(pi.argmax(-1)).float()
    latter = exact(TEMPERATURES, most_likely)[1]
    print("\nThe best temperature, and the one that PPO's policy finds most likely. A policy that "
          f"always takes\nthe latter has a mean reward of {latter:.3f}.")
    print("tokens left".ljust(14) + "".join(f"{b:5}" for b in range(1, HORIZON + 1)))
    for w in range(3):
        print_best_actions("optimum", w, Q[:, w])
        print_best_actions("PPO", w, pi[:, w])


if __name__ == "__main__":
    run_program("demos.ppo_toy", main)

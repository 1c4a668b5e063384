"""What a trained token policy decides in one completion, and how GAE shares the reward out.

    python -m demos.decisions runs/sums --problem 5 --budget 18      # 5 seconds
    python -m demos.decisions runs/sums --problem 5 --budget 44

A line for each decision i: the token that was drawn, the tokens left, pi(a|o_i) of each
temperature, the action, v_i, delta_i = v_{i+1} - v_i, and A_i = delta_i + lambda A_{i+1}. Behind
the last one stands the reward: v_{F+1} = r.
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import torch
from torch import Tensor

from decode import Episode, Strategy
from experiment.adapters import load_adapter
from experiment.load import load
from experiment.reward_table import collect, grade_fn
from experiment.run import Run, read_config
from pomdp import TEMPERATURES, TokenPolicy, flatten, gae
from utils.errors import UserError
from utils.options import Parser


def credit(policy: TokenPolicy, episode: Episode) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """pi (F, A), v, delta and A (F,) of an episode's decisions."""
    obs, _, _, lengths, reward = flatten(policy, [episode])
    with torch.no_grad():
        pi = policy.actor(obs).softmax(-1).cpu()                                # (F, A)
        v = policy.critic(obs).squeeze(1).cpu()                                 # (F,)
    delta = torch.cat([v[1:], reward]) - v                                      # (F,)
    return pi, v, delta, gae(v, lengths.tolist(), reward)


def main() -> None:
    parser = Parser(prog="demos.decisions",
                    description="The decisions of one completion, and their advantages.")
    parser.add_argument("run", help="a finished run, such as runs/sums")
    parser.add_argument("--problem", type=int, default=0, help="a held-out one (default 0)")
    parser.add_argument("--budget", type=int, help="tokens (default: the run's largest)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (default 0)")
    args = parser.parse_args()
    config = read_config(args.run)
    lm, task = load(config)
    T = max(task.budgets) if args.budget is None else args.budget
    if not 0 <= args.problem < len(task.test):
        raise UserError(f"--problem is 0 to {len(task.test) - 1}, not {args.problem}")

    # One completion under the policy's likeliest actions, and its reward
    run = Run(lm, task, config, args.run, None)                # type: ignore[arg-type]
    policy, _ = load_adapter(run.file("token", config.seed), lm)
    problem = task.test[args.problem]
    prompts = [task.prompt(problem, config.all_styles()[0])]
    episode, = collect(lm, task, prompts, policy, torch.tensor([T]), 1, args.seed, 1,
                       grade_fn(lm, task, [problem], prompts))
    print(prompts[0] + lm.answer_text(episode.tokens.tolist(), lm.encode(prompts[0])))
    print(f"T = {T}, reward r = {episode.reward:.0f}, the answer is {problem.answer}\n")
    if not len(episode.decision_steps):
        raise UserError("the LM was sure of every token: there was nothing to decide")

    pi, v, delta, advantage = credit(policy, episode)
    actions = [str(Strategy(tau)) for tau in TEMPERATURES]             # "greedy", "tau=0.5" ..
    heads = "".join(f"{action:>10}" for action in actions)
    print(f"token   left{heads}   action       v   delta       A")
    for i, step in enumerate(episode.decision_steps.tolist()):
        token = repr(lm.decode([int(episode.tokens[step])]))
        action = actions[int(episode.action[step])]
        print(f"{token:8}{int(episode.tokens_left[i]):4}" + "".join(f"{p:10.2f}" for p in pi[i])
              + f"   {action:8}{v[i]:6.2f}  {delta[i]:+6.2f}  {advantage[i]:+6.2f}")


if __name__ == "__main__":
    run_program("demos.decisions", main)

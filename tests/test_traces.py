"""What the traces say against the episodes, a fresh pass of the LM, and the reward table."""
import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
import torch

from conftest import command_of
from bandit import LinUCB, SoftmaxBandit
from decode import GREEDY, Strategy, probs, prompt_key, rollout, static
from demos import remake
from experiment import traces
from experiment.adapters import arms_to_json, save_adapter
from experiment.config import Config
from experiment.load import make_task
from experiment.held_out import HeldOut
from experiment.reward_table import Arm, collect, embed_prompts, grade_fn, sample_policy
from experiment.run import Run
from experiment.traces import (TraceRecorder, as_csv, choice_lines, static_lengths, token_lines,
                               watch)
from features import CONTEXT_PARTS, N_THRESHOLDS
from pomdp import TEMPERATURES, TokenPolicy, flatten
from utils.errors import UserError
from utils.problem_files import Problem

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = Config(styles="cot,direct", budgets="12,20,30", seed=3, pool_problems=4, problems=4,
                token_problems=4, test_problems=8, samples=4, test_samples=2, rows=12)
HIGH = Strategy(1.5, 8, 0.95, 0.03)
ARMS = [Arm("cot", GREEDY), Arm("direct", HIGH), Arm("cot", HIGH)]
BEST = [ARMS[1], ARMS[2], ARMS[0]]
FILES = ("tokens.csv", "lengths.csv", "generations.json", "comparison.json", "choices.csv",
         "README.md")


@pytest.fixture(scope="module")
def held(lm):
    task = make_task(CONFIG)
    run = Run(lm, task, CONFIG, "", None)
    return HeldOut(run, {}, embed_prompts(lm, task, task.test, "cot", 64), [1, 2], None)


@pytest.fixture(scope="module")
def token(lm):
    """Untrained, but all four actions and many values come up."""
    torch.manual_seed(1)
    policy = TokenPolicy(lm.d, 30)
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.3)
    torch.nn.init.normal_(policy.critic[-1].weight, std=0.3)
    return policy


@pytest.fixture(scope="module")
def watched(held, token):
    """12 of 24 rows at once: rows enter as others end, and places are empty at times."""
    empty = []

    class Seen(TraceRecorder):
        def __call__(self, state, choice, q, y):
            empty.append(bool((state.tokens_left == 0).any()))
            super().__call__(state, choice, q, y)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces, "TraceRecorder", Seen)
        episodes, notes = watch(held, held.run.task.test, token)
    assert 0 < sum(empty) < len(empty)
    assert Counter(x.action for told in notes for x in told if x.decision).keys() == {0, 1, 2, 3}
    return episodes, notes


def bandits(lm):
    torch.manual_seed(2)
    soft, lin = (kind(lm.d + 2 * N_THRESHOLDS, 3) for kind in (SoftmaxBandit, LinUCB))
    torch.nn.init.normal_(soft.actor[-1].weight, std=0.3)
    for arm in range(3):
        lin.update(torch.randn(lm.d + 2 * N_THRESHOLDS), arm, 1.0)
    return {"softmax": soft, "linucb": lin}


@pytest.fixture(scope="module")
def folder(lm, token, tmp_path_factory):
    """The run folder that the program reads, after the program."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(CONFIG)))
    (folder / "selection.json").write_text(json.dumps({
        "sets": {"cot,direct": {
            "best_static": [arms_to_json(line) for line in (BEST, BEST[::-1])],
            "arms": arms_to_json(ARMS), "best_of_all": [], "candidates": 3, "coverage": [],
            "top_average": [], "constant": 0, "noise": 0, "bound": 0}}}))
    save_adapter(str(folder / "token-3.safetensors"), token.state_dict(), "token", lm, horizon=30,
                 parts=token.parts)
    for kind, bandit in bandits(lm).items():
        path = str(folder / f"{kind}-cot+direct-3.safetensors")
        save_adapter(path, bandit.state_dict(), kind, lm, arms=arms_to_json(ARMS),
                     parts=CONTEXT_PARTS)
    about = {"task": "sums", "styles": ["cot", "direct"], "budgets": [12, 20, 30], "problems": 8,
             "samples": 2, "seeds": 1}
    (folder / "results.json").write_text(json.dumps({"about": about, "tables": []}))
    subprocess.run([*command_of("demos.remake"), str(folder)], check=True,
                   env=os.environ | {"PYTHONPATH": ROOT}, capture_output=True)
    return folder


def lines(folder, name):
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


# ---- what a token says ---------------------------------------------------------------------------
def test_watching_changes_no_text(lm, held, token, watched):
    alone = [rollout(lm, [lm.encode(p)], token, torch.tensor([T]),
                     torch.tensor([prompt_key(p)]), seed=3)[0]
             for p in held.prompts("cot")[:3] for T in (12, 20, 30)]
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(alone, watched[0]))


def test_notes_are_the_episodes_tokens_actions_and_decisions(watched):
    for x, told in zip(*watched):
        assert [n.step for n in told] == list(range(len(x.tokens)))
        assert [n.token for n in told] == x.tokens.tolist()
        assert [n.tokens_left for n in told] == [x.budget - n.step for n in told]
        assert [n.action for n in told] == x.action.tolist()
        assert [n.step for n in told if n.decision] == x.decision_steps.tolist()


def entropy(p):
    return -(p * p.clamp(min=1e-30).log()).sum(-1)


def test_probabilities_are_those_of_a_fresh_pass_over_prompt_and_text(lm, held, watched):
    prompts = [p for p in held.prompts("cot") for _ in held.run.task.budgets]
    seen = Counter()
    for prompt, x, told in zip(prompts, *watched):
        ids = lm.encode(prompt)
        logits = lm.model(torch.tensor([ids + x.tokens.tolist()])).logits[
            0, len(ids) - 1:-1, :lm.vocabulary]                     # its head is padded beyond
        p = logits.softmax(-1)                                                       # (T, V)
        q = probs(logits, torch.tensor([Strategy(TEMPERATURES[n.action]) for n in told]))
        for name, ours in (("p", q.gather(1, x.tokens[:, None]).squeeze(1)), ("p_max", p.amax(-1)),
                           ("entropy", entropy(p)), ("entropy_after", entropy(q))):
            assert torch.allclose(torch.tensor([getattr(n, name) for n in told]), ours, atol=1e-5)
        seen.update(n.p < 1 for n in told)
    assert min(seen[True], seen[False]) > 20


def test_entropy_stays_at_temperature_1_goes_at_0_and_rises_with_it(watched):
    for x in (n for told in watched[1] for n in told):
        rises = {0: x.entropy_after == 0, 1: x.entropy_after < x.entropy,
                 2: abs(x.entropy_after - x.entropy) < 1e-5, 3: x.entropy_after > x.entropy}
        assert rises[x.action] and (x.p == 1 or x.action > 0)


def test_values_at_decisions_are_the_critics_on_the_episodes_own_observations(token, watched):
    values = token.critic(flatten(token, watched[0])[0]).squeeze(1)
    ours = torch.tensor([x.value for told in watched[1] for x in told if x.decision])
    assert torch.allclose(ours, values, atol=1e-5) and values.std() > 0.05


# ---- the files -----------------------------------------------------------------------------------
def test_the_same_run_gives_the_same_bytes_twice(folder, monkeypatch):
    before = [(folder / name).read_bytes() for name in FILES]
    for name in FILES:
        (folder / name).unlink()
    monkeypatch.setattr(sys, "argv", ["demos.remake", str(folder)])
    remake.main()
    assert [(folder / name).read_bytes() for name in FILES] == before


def test_tokens_csv_holds_every_decision_once(folder, held, watched):
    expected = as_csv(traces.TOKENS, token_lines(held.run.lm, watched[1], held.run.task.budgets))
    assert (folder / "tokens.csv").read_text() == expected
    told = lines(folder, "tokens.csv")
    assert len(told) == sum(len(x.decision_steps) for x in watched[0])
    first = [int(x["step"]) for x in told if x["problem"] == "1" and x["budget"] == "30"]
    assert first == watched[0][1 * 3 + 2].decision_steps.tolist()
    assert all(float(x["p_max"]) <= 0.95 and int(x["left"]) + int(x["step"]) == int(x["budget"])
               and float(x["temperature"]) == TEMPERATURES[int(x["action"])] for x in told)


def test_a_static_text_under_a_smaller_budget_is_a_prefix_and_so_is_its_length(held):
    for arm in ARMS:
        prompts = held.prompts(arm.style)
        policy = static(torch.tensor([arm.strategy] * 8))
        for T in held.run.task.budgets:
            budgets = torch.full((8,), T)
            each = collect(held.run.lm, held.run.task, prompts, policy, budgets, 1, 3, 64)
            assert ([min(x, T) for x in static_lengths(held, held.run.task.test, arm)]
                    == [len(x.tokens) for x in each])


def test_lengths_csv_counts_every_text_of_each_policy_at_each_budget(folder, held, watched):
    by = {}
    for x in lines(folder, "lengths.csv"):
        counts = by.setdefault((x["policy"], int(x["budget"])), Counter())
        counts[int(x["length"])] = int(x["count"])
    expected = {}
    for t, T in enumerate(held.run.task.budgets):
        for policy, arm in (("greedy", ARMS[0]), ("best static", BEST[t])):
            expected[policy, T] = Counter(
                min(x, T) for x in static_lengths(held, held.run.task.test, arm))
        expected["token level", T] = Counter(
            len(x.tokens) for x in watched[0] if x.budget == T)
    assert by == expected and all(sum(x.values()) == 8 for x in by.values())
    assert by["greedy", 20] != by["best static", 20] != by["token level", 20]


def test_generations_are_whole_texts_with_the_rewards_of_the_evaluation(folder, lm, held, token):
    told = json.loads((folder / "generations.json").read_text())
    prompts, acting = held.prompts("cot"), token
    task = held.run.task
    table = sample_policy(lm, task, task.test, lambda t, part: (prompts[part], acting), 2, 3, 64)
    assert [x["budget"] for x in told] == [12, 20, 30, 12, 20, 30, 12, 20]
    assert [x["reward"] for x in told] == [table[i, 0, i % 3] for i in range(8)]
    assert 0 < sum(x["reward"] for x in told) < 8
    for x, prompt, problem in zip(told, prompts, held.run.task.test):
        assert x["prompt"] == prompt and x["answer"] == problem.answer
        ended = x["tokens"][-1]["text"] == lm.tokenizer.eos_token
        assert x["truncated"] == (not ended)
        assert ended or len(x["tokens"]) == x["budget"]
        text = "".join(piece["text"] for piece in x["tokens"][:len(x["tokens"]) - ended])
        assert held.run.task.grade(text, problem, not ended) == x["reward"]


def test_generations_and_tokens_csv_agree(folder):
    listed = {(x["problem"], x["budget"], x["left"]): x for x in lines(folder, "tokens.csv")}
    told = json.loads((folder / "generations.json").read_text())
    for i, x in enumerate(told):
        decisions = [n for n in x["tokens"] if n["decision"]]
        assert decisions and len(decisions) == sum(
            key[:2] == (str(i), str(x["budget"])) for key in listed)
        for n in decisions:
            line = listed[str(i), str(x["budget"]), str(n["left"])]
            assert all(float(line[k]) == n[k] for k in ("action", "p_max", "entropy", "value"))


def test_the_comparison_is_one_problem_at_the_middle_budget_under_four_policies(
        folder, lm, held, token):
    told = json.loads((folder / "comparison.json").read_text())
    assert [x["policy"] for x in told] == ["greedy", "best static", "sequence level", "token level"]
    task, prompts = held.run.task, held.prompts("cot")

    def sampled(problem, arm):
        policy = token if arm.token else static(torch.tensor([arm.strategy]))
        prompt = task.prompt(problem, arm.style)
        return collect(lm, task, [prompt], policy, torch.tensor([20]), 1, 3, 1,
                       grade_fn(lm, task, [problem], [prompt]))[0]

    # Of those that the token level alone solves the one with the most decisions, or else the first
    token_arm = Arm("cot", Strategy(), token=True)
    choices = held.choice(bandits(lm)["softmax"], CONTEXT_PARTS, 1, 1)
    fits = []
    for i, problem in enumerate(task.test):
        ours = sampled(problem, token_arm)
        others = [sampled(problem, arm).reward for arm in (ARMS[0], BEST[1], ARMS[choices[i]])]
        if ours.reward > max(others):
            fits.append((len(ours.decision_steps), -i))
    number = -max(fits)[1] if fits else 0
    assert told[0]["prompt"] == told[3]["prompt"] == prompts[number]
    assert {x["problem"] for x in told} == {number}
    choice = choices[number]
    for x, arm in zip(told, (ARMS[0], BEST[1], ARMS[choice], token_arm)):
        assert x["arm"] == ("" if arm.token else str(arm)) and x["budget"] == 20
        episode = sampled(task.test[number], arm)
        assert len(x["tokens"]) == len(episode.tokens) and x["reward"] == episode.reward
        assert [n["action"] for n in x["tokens"]] == episode.action.tolist()
        assert any(n["decision"] for n in x["tokens"]) == arm.token


# ---- choices -------------------------------------------------------------------------------------
def test_shares_are_those_of_a_bandit_known_by_hand(held):
    """A bandit that names arm 0 at T = 12, else arm 2, but arm 1 for problem 0 at B = 4."""
    difficulties = [5, 5, 5, 5, 10, 10, None, None]
    problems = [Problem("", "", difficulty=x) for x in difficulties]
    task = dataclasses.replace(held.run.task, test=problems)

    class ByHand(HeldOut):
        def choice(self, bandit, parts, B, t):
            assert bandit == "bandit" and parts == CONTEXT_PARTS
            return torch.tensor([1 if (i, B) == (0, 4) else 0 if t == 0 else 2 for i in range(8)])

    by_hand = ByHand(dataclasses.replace(held.run, task=task), {}, held.e, [1, 2, 4], None)
    about = {"arms": arms_to_json(ARMS), "parts": CONTEXT_PARTS}
    found = list(choice_lines(by_hand, {("x", "cot,direct"): ("bandit", about)}))
    high = str(ARMS[2])
    assert found[:6] == [("x", "cot,direct", 1, T, difficulty, arm, 1.0) for T, arm in (
        (12, "cot greedy"), (20, high)) for difficulty in ("", 5, 10)]
    assert [x[2] for x in found] == [1] * 9 + [4] * 12
    assert found[-4:] == [("x", "cot,direct", 4, 30, *x) for x in (
        ("", high, 1.0), (5, str(ARMS[1]), 0.25), (5, high, 0.75), (10, high, 1.0))]


def test_shares_of_choices_csv_are_the_adapters_and_add_up_to_1(folder, lm, held):
    told = lines(folder, "choices.csv")
    adapters, total = bandits(lm), Counter()
    difficulties = ["" if p.difficulty is None else str(p.difficulty) for p in held.run.task.test]
    for x in told:
        total[x["adapter"], x["parallel"], x["budget"], x["difficulty"]] += float(x["share"])
        t = held.run.task.budgets.index(int(x["budget"]))
        choice = held.choice(adapters[x["adapter"]], CONTEXT_PARTS, int(x["parallel"]), t)
        named = [int(i) for i, of_problem in zip(choice, difficulties)
                 if of_problem == x["difficulty"]]
        share = named.count([str(arm) for arm in ARMS].index(x["arm"])) / len(named)
        assert float(x["share"]) == pytest.approx(share, abs=1e-6) and share > 0
    assert total.keys() == {(kind, B, T, difficulty) for kind in ("softmax", "linucb") for B in "12"
                            for T in ("12", "20", "30") for difficulty in difficulties}
    assert all(abs(share - 1) < 1e-5 for share in total.values())
    assert len(told) > len(total) and {x["styles"] for x in told} == {"cot,direct"}


# ---- mistakes ------------------------------------------------------------------------------------
@pytest.mark.parametrize("missing", ["config.json", "selection.json", "token-3.safetensors",
                                     "linucb-cot.direct-3.safetensors"])
def test_what_is_missing_is_named(folder, tmp_path, monkeypatch, missing):
    for name in os.listdir(folder):
        if not re.fullmatch(missing, name):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setattr(sys, "argv", ["demos.remake", str(tmp_path)])
    with pytest.raises(UserError, match=f"(cannot read|there is no) .*{missing}"):
        remake.main()

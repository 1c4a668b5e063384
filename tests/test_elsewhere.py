"""A run used elsewhere: the example as it stands, sample.py, the model card, the hub."""
import dataclasses
import json
import os
import runpy
import sys

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

import lm as lm_module
from utils import hub
from bandit import SoftmaxBandit
from experiment.reward_table import Arm
from experiment.model_card import card
from utils.errors import UserError
from experiment.config import Config
from experiment.load import make_task
from decode import GREEDY, Strategy, generate, static
from experiment.held_out import HeldOut
from features import N_THRESHOLDS, CONTEXT_PARTS
from experiment.run import Run, read_config
from lm import LM, TINY
from pomdp import TokenPolicy
from experiment.reward_table import embed_prompts
from experiment.adapters import arms_to_json, load_adapter, run_folder, save_adapter
from sample import policies_to_compare
from experiment.tables import make_table

ROOT = os.path.dirname(os.path.dirname(TINY))
EXAMPLE = os.path.join(ROOT, "demos", "adapter.py")
BUDGETS = (12, 20, 30)
CONFIG = Config(budgets="12,20,30", styles="cot,direct", problems=4, pool_problems=4,
                token_problems=4, test_problems=8, device="cpu")
ARMS = [Arm("cot", GREEDY), Arm("direct", Strategy(1.5, 8, 0.95, 0.03)), Arm("direct", GREEDY)]
BEST = [Arm("cot", Strategy(1.0, 2)), Arm("cot", Strategy(0.5)), Arm("cot", GREEDY)]


def save_token(folder, lm):
    """Untrained, but all four actions come up."""
    torch.manual_seed(1)
    policy = TokenPolicy(lm.d, 30)
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.3)
    save_adapter(f"{folder}/token-0.safetensors", policy.state_dict(), "token", lm, horizon=30,
                 parts=policy.parts, budgets=list(BUDGETS))
    return policy


def save_run(folder, lm, config):
    os.makedirs(folder)
    save_token(folder, lm)
    torch.manual_seed(3)
    bandit = SoftmaxBandit(lm.d + 2 * N_THRESHOLDS, 3)
    torch.nn.init.normal_(bandit.actor[-1].weight)
    with torch.no_grad():
        bandit.actor[0].weight[:, -N_THRESHOLDS:] *= 4                 # the token budget counts
    save_adapter(f"{folder}/softmax-cot+direct-0.safetensors", bandit.state_dict(), "softmax", lm,
                 arms=arms_to_json(ARMS), parts=CONTEXT_PARTS)
    one, all_ = ({"best_static": [arms_to_json(line), arms_to_json(BEST[1:] + BEST[:1])],
                  "arms": arms_to_json(ARMS)} for line in (BEST, BEST[::-1]))
    rows = {name: {(1, t): np.full((1, 8), 0.5) for t in range(3)} for name in ("a", "best static")}
    files = {"config": dataclasses.asdict(config), "results": {
        "about": {"lm": lm.name, "task": "sums", "styles": config.all_styles(), "budgets": BUDGETS,
                  "problems": 8, "samples": 2, "seeds": 1, "difficulties": {}},
        "tables": [make_table("Token level", "Told so.", [1], rows, rows["best static"])]},
        "selection": {"sets": {"cot": one, "cot,direct": all_}},
        "generations": [{"prompt": "7+8+5+9:"}]}
    for name, content in files.items():
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump(content, file)


@pytest.fixture(scope="module")
def folder(lm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    save_run(folder / "runs" / "sums", lm, CONFIG)
    return folder


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def printed(lm, prompts, budget, n):
    policy, _ = load_adapter("runs/sums/token-0.safetensors", lm)
    return [prompts[x.prompt] + lm.text(x.tokens) + (" (ran out of tokens)" if x.truncated else "")
            for x in generate(lm, prompts, policy, budget, n=n)]


# ---- ten lines in a script of somebody's own ----------------------------------------------------
def test_the_example_runs_as_it_stands_and_has_ten_lines(capsys):
    runpy.run_path(EXAMPLE)
    assert capsys.readouterr().out.splitlines() == printed(
        LM.load("tiny"), ["7+8+5+9:", "12+3+4+11+6:"], 24, 2)
    code = open(EXAMPLE).read().split('"""')[2].splitlines()
    assert sum(map(bool, code)) <= 10


def test_the_example_runs_with_a_models_folder(tmp_path, capsys):
    """Saved again in bf16 by transformers alone, as hub models are; its template asks in a chat."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}+1:{% endfor %}"
    tokenizer.save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    lm = LM.load(str(tmp_path / "model"))
    lm.set_prompt_format(chat=True, stop="=")
    os.makedirs(tmp_path / "runs" / "sums")
    save_token(tmp_path / "runs" / "sums", lm)
    script = tmp_path / "script.py"
    code = open(EXAMPLE).read().replace('"tiny")', f"{str(tmp_path / 'model')!r})")
    script.write_text(code.replace('"7+8+5+9:", "12+3+4+11+6:"', '"7+8"'))
    os.chdir(tmp_path)
    runpy.run_path(str(script))
    assert capsys.readouterr().out.splitlines() == printed(lm, ["7+8"], 24, 2) == ["7+87+8="] * 2


def test_an_adapter_sets_how_its_lm_is_asked(tmp_path):
    lm = LM.load("tiny", device="cpu")
    plain = dict(lm.prompt_format)
    lm.set_prompt_format(stop="#")
    save_token(tmp_path, lm)
    lm.set_prompt_format()
    assert lm.prompt_format == plain
    load_adapter(str(tmp_path / "token-0.safetensors"), lm)
    assert lm.prompt_format == plain | {"stop": "#"} and lm.encode("#")[0] in lm.ends


# ---- sample.py ----------------------------------------------------------------------------------
def decode(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["sample.py", *arguments])
    runpy.run_path(os.path.join(ROOT, "sample.py"), run_name="__main__")
    return capsys.readouterr().out


def test_policies_to_compare_are_those_of_the_evaluation(lm):
    task = make_task(CONFIG)
    run, token = Run(lm, task, CONFIG, "runs/sums", None), object()
    held, named = HeldOut(run, {}, embed_prompts(lm, task, task.test, "cot", 64), [1], None), set()
    bandit = held_bandit(run, lm)
    for T, t in (12, 0), (20, 1), (30, 2), (15, 0), (100, 2):
        choice = held.choice(*bandit, 1, t).tolist()
        for i, problem in enumerate(task.test):
            prompt = task.prompt(problem, "cot")
            found = policies_to_compare(run, token, prompt, T, list(BUDGETS), problem)
            labels, (greedy, best, ours, sequence) = list(found), found.values()
            assert labels[:3] == ["greedy", f"best static at T = {BUDGETS[t]}, {BEST[t].strategy}",
                                  "token level"]
            assert [x[0] for x in (greedy, best, ours)] == [prompt] * 3 and ours[1] is token
            if T in BUDGETS:
                assert labels[3] == f"sequence level, {ARMS[choice[i]]}"
                assert sequence[0] == task.prompt(problem, ARMS[choice[i]].style)
                named.add((i, choice[i]))
        assert len(policies_to_compare(run, token, "1+2:", T, list(BUDGETS), None)) == 3
    assert len(named) > len(task.test)                   # arms of one problem differ with T


def held_bandit(run, lm):
    bandit, about = load_adapter(run.file("softmax cot,direct", 0), lm)
    return bandit, about["parts"]


def test_compared_texts_are_those_of_each_policy_alone(lm, monkeypatch, capsys):
    problem = make_task(CONFIG).test[2]
    prompt = f"{problem.question}:"
    blocks = decode(monkeypatch, capsys, "--problem", "2", "--compare", "--budget", "20", "--seed",
                    "5").split("\n\n")
    assert [x.split(",")[0].split(" at ")[0].split(":")[0] for x in blocks[:4]] == [
        "greedy", "best static", "token level", "sequence level"]
    token = load_adapter("runs/sums/token-0.safetensors", lm)[0]
    for block, policy in zip(blocks, (static(torch.tensor([GREEDY])),
                                      static(torch.tensor([BEST[1].strategy])), token)):
        x, = generate(lm, [prompt], policy, 20, seed=5)
        _, text, told = block.splitlines()
        assert "".join(c for c in text if c not in "₀₁₂₃") == prompt + lm.text(x.tokens)
        right = lm.text(x.tokens).endswith(f"#{problem.answer}")
        assert told == (f"{len(x.tokens)} of 20 tokens{', ran out' if x.truncated else ''}; "
                        f"{'right' if right else 'wrong'}, the right answer is {problem.answer}")


def test_one_line_says_what_is_left_out(monkeypatch, capsys):
    told = decode(monkeypatch, capsys, "7+8+5+9:", "--compare", "--budget", "31").splitlines()
    assert told[-2].startswith("trained up to T = 30") and told[-1].startswith("sequence level: wi")
    told = decode(monkeypatch, capsys, "1+" * 200 + "1:", "--budget", "30").splitlines()
    assert told[-1].startswith("legend") and "answer" not in told[-2]
    assert told[0].startswith("… " + "1+" * 149 + "1:")                       # 300 characters


@pytest.mark.parametrize("arguments, says", [
    (["7+8:", "--problem", "1"], "a prompt, or --problem"),
    (["--problem", "8"], "--problem is 0 to 7"), (["--problem", "-1"], "--problem is 0 to 7"),
    (["7+8:", "--run", "runs/other"], "runs/other/config.json"),
    (["7+8:", "--run", "owner/name"], "the run 'owner/name'"),
    (["7+8:", "--model", "owner/name"], "the model 'owner/name'")])
def test_a_mistake_gets_one_line_and_nothing_is_printed_before(arguments, says, monkeypatch,
                                                              capsys):
    with pytest.raises(SystemExit) as stop:
        decode(monkeypatch, capsys, *arguments)
    shown = capsys.readouterr()
    message = shown.err if stop.value.code == 2 else stop.value.code
    assert says in message and len(message.strip().splitlines()) == 1 and shown.out == ""


# ---- the hub ------------------------------------------------------------------------------------
def test_a_run_on_the_hub_is_used_by_its_id(lm, monkeypatch, capsys, folder):
    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda name, allow_patterns:
                        asked.append(name) or str(folder / "runs" / "sums"))
    here = decode(monkeypatch, capsys, "7+8+5+9:")
    assert not asked and here == decode(monkeypatch, capsys, "7+8+5+9:", "--run", "owner/name")
    assert asked == ["owner/name"]


def test_what_is_here_or_nearly_here_is_not_looked_for_on_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "snapshot_download", lambda *a, **b: 1 / 0)
    os.makedirs("mine", exist_ok=True)
    for run in ("runs/sums", "runs/mistyped", "mine/mistyped", "sums", "/no/where", "a/b/c"):
        assert run_folder(run) == run
    monkeypatch.chdir(tmp_path)                                   # where no run was made yet
    assert run_folder("runs/sums") == "runs/sums"
    for name in ("a b/c", "/no/where", "a/b/c"):
        with pytest.raises(UserError, match="no such folder, and no hub id"):
            lm_module.model_config(name)


# ---- the card -----------------------------------------------------------------------------------
HUB, LOCAL = "Qwen/Qwen3-0.6B", "/home/somebody/models/big"


@pytest.mark.parametrize("model, data, base, datasets", [
    ("tiny", "", None, None), (HUB, "openai/gsm8k:main", HUB, ["openai/gsm8k"]),
    (LOCAL, "/home/somebody/problems.jsonl", None, None), (TINY, "runs/sums", None, None)])
def test_the_hub_reads_the_cards_header(model, data, base, datasets, folder):
    config = dataclasses.replace(CONFIG, model=model, data=data)
    (folder / "README.md").write_text(card(config, "runs/sums"))
    told = ModelCard.load(str(folder / "README.md")).data
    assert told.license == "mit" and told.base_model == base and told.datasets == datasets
    assert "adaptive-decoding" in told.tags and told.library_name == "adaptive-decoding"


@pytest.mark.parametrize("model", [LOCAL, TINY])
def test_no_folder_of_this_machine_is_named_in_a_card_nor_in_an_adapter(model, tmp_path, folder):
    config = dataclasses.replace(CONFIG, model=model, data=f"{LOCAL}/x.jsonl", test_data=LOCAL)
    told = card(config, "runs/sums")
    assert "/home" not in told and ROOT not in told and str(folder) not in told
    assert f"--model {os.path.basename(model)} --data x.jsonl --test-data big" in told
    lm = LM.load(TINY, device="cpu")
    save_token(tmp_path, lm)
    assert ROOT.encode() not in (tmp_path / "token-0.safetensors").read_bytes()


def test_the_cards_lines_run_and_its_table_is_of_the_results(lm, monkeypatch, capsys, folder):
    told = card(read_config("runs/sums"), "runs/sums")
    monkeypatch.setattr(hub, "snapshot_download",
                        lambda name, allow_patterns: str(folder / "runs" / "sums"))
    exec(told.split("```python")[1].split("```")[0], {})
    assert capsys.readouterr().out.splitlines() == printed(
        LM.load("tiny"), ["7+8+5+9:"], 20, 2)
    assert "| a | 50.0 ±0.0; (+0.0 ±0.0) |" in told and "| best static | 50.0 ±0.0 |" in told
    assert lm.hash() in told and "Told so." in told and "direct greedy" in told
    assert "train.py --device cpu --styles cot,direct --budgets 12,20,30 --pool-problems 4" in told

"""The model card: README.md of a run's folder, so that it can be uploaded to a hub as it is.

    python -m demos.write_model_card runs/sums                # writes it again; train.py writes it when it ends

A YAML header that the hub reads, then for people: which LM, what was gained, how to use it. Made
from the run's files, after card.md. No folder of this machine is named: of a path its last part.
"""
import dataclasses
import json
import os
import shlex

from experiment.adapters import arms_from_json, read_adapter
from experiment.config import Config
from experiment.tables import difference, percent
from lm import model_folder
from pomdp import action_names
from utils.files import read_json
from utils.hub import is_hub_id, public_name

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def text(*names: str) -> str:
    """Of a file that comes with the code."""
    with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
        return file.read()


def header(config: Config) -> str:
    """YAML, each value in JSON, which is YAML as well. base_model and datasets: hub ids alone."""
    told = {"license": "mit", "library_name": "adaptive-decoding",
            "pipeline_tag": "text-generation",
            "tags": ["adaptive-decoding", "reinforcement-learning", "arxiv:2603.09065"]}
    if is_hub_id(model_folder(config.model)):
        told |= {"base_model": config.model, "base_model_relation": "adapter"}
    data = [x.partition(":")[0] for x in (config.data, config.test_data) if "/" in x]
    if data := [x for x in dict.fromkeys(data) if is_hub_id(x) and not os.path.exists(x)]:
        told["datasets"] = data
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in told.items())


def result_table(table: dict, budgets: list[int]) -> str:
    """Markdown, of Pass@1, without the single arms; below it what its differences are to."""
    lines = [f"| {table['title']} |" + "".join(f" T = {T} |" for T in budgets),
             "|---" * (len(budgets) + 1) + "|"]
    for row in table["rows"]:
        cells = [row["cells"].get(f"pass@1[{t}]") for t in range(len(budgets))]
        if all(cells) and not row["name"].startswith("arm: "):
            lines.append(f"| {row['name'] + ' °' * (not row['competitor'])} |" + "".join(
                f" {percent(x)}" + (f"; {difference(x)}" if "difference" in x else "") + " |"
                for x in cells))
    return "\n".join([*lines, "", table["note"]])


def options(config: Config) -> str:
    """What was not left at its default, on the command line of train.py."""
    changed = [(f.name.replace("_", "-"), getattr(config, f.name)) for f in
               dataclasses.fields(Config) if getattr(config, f.name) != f.default]
    return " ".join(f"--{name}" + ("" if value is True else f" {shlex.quote(public_name(str(value)))}")
                    for name, value in changed)


def asked(config: Config, about: dict) -> str:
    """How its prompts were put."""
    told = ["in the LM's chat template" if about.get("chat") else "plain"]
    told += ["thinking"] * about.get("thinking", False)
    told += [f"{config.shots} examples before each"] * (config.shots > 0)
    return ", ".join(told)


def example(config: Config, prompt: str, budget: int) -> str:
    """demos/adapter.py, of this run."""
    code = text("demos", "adapter.py").split('"""', 2)[2].strip()
    for old, new in (('"tiny"', json.dumps(public_name(config.model))), ('"runs/sums"', '"OWNER/NAME"'),
                     ("token-0", f"token-{config.seed}"), (" 24,", f" {budget},"),
                     ('["7+8+5+9:", "12+3+4+11+6:"]', json.dumps([prompt], ensure_ascii=False))):
        code = code.replace(old, new)
    return code


def card(config: Config, folder: str) -> str:
    """Of a run whose results are there, its folder finished or not."""
    results, selection = (read_json(f"{folder}/{x}.json") for x in ("results", "selection"))
    _, about = read_adapter(f"{folder}/token-{config.seed}.safetensors")
    seen, sets = results["about"], selection["sets"]
    budgets, prompt = seen["budgets"], read_json(f"{folder}/generations.json")[0]["prompt"]
    return text("experiment", "model_card.md").format(
        header=header(config), name=config.name or config.task, lm=public_name(config.model),
        embedded=", which comes with the code" * (config.model == "tiny"), hash=about["lm_hash"],
        task=seen["task"], styles=", ".join(seen["styles"]), budgets=", ".join(map(str, budgets)),
        actions=", ".join(action_names(about["actions"])),
        arms="\n".join(f"  - styles {styles}: {'; '.join(map(str, arms_from_json(x['arms'])))}"
                       for styles, x in sets.items()),
        problems=seen["problems"], samples=seen["samples"], seeds=seen["seeds"],
        tables="\n\n".join(result_table(x, budgets) for x in results["tables"]),
        example=example(config, prompt, budgets[len(budgets) // 2]), options=options(config),
        asked=asked(config, about), horizon=about["horizon"])

"""The model card: README.md of a run's folder, which can then be uploaded to a hub as it is.

    python -m demos.remake runs/sums           # writes it again; train.py writes it when it ends

It fills in model_card.md from the files of the run: a YAML header that the hub reads, then, for
people, which LM, what was gained, how to use it. Of a path on this machine it gives the last part.
"""
import dataclasses
import json
import os
import shlex
from pathlib import Path

from experiment.adapters import arms_from_json, read_adapter
from experiment.config import Config, flag
from experiment.tables import difference, percent
from lm import model_folder
from pomdp import action_names
from utils.files import read_json
from utils.hub import is_hub_id, public_name

TEMPLATE = Path(__file__).with_name("model_card.md")
EXAMPLE = Path(__file__).parents[1] / "demos" / "adapter.py"


def header(config: Config) -> str:
    """YAML, each value in JSON, which is YAML as well. Only hub ids are named in it."""
    fields = {"license": "mit", "library_name": "adaptive-decoding",
              "pipeline_tag": "text-generation",
              "tags": ["adaptive-decoding", "reinforcement-learning", "arxiv:2603.09065"]}
    if is_hub_id(model_folder(config.model)):
        fields |= {"base_model": config.model, "base_model_relation": "adapter"}
    # A hub id has a slash; behind a colon is the configuration of the data set
    sources = [x.partition(":")[0] for x in (config.data, config.test_data) if "/" in x]
    data_sets = [x for x in dict.fromkeys(sources) if is_hub_id(x) and not os.path.exists(x)]
    if data_sets:
        fields["datasets"] = data_sets
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in fields.items())


def result_table(table: dict, budgets: list[int]) -> str:
    """Pass@1 in Markdown, without the single arms; below it the table's note."""
    rows = [[table["title"]] + [f"T = {T}" for T in budgets], ["---"] * (1 + len(budgets))]
    for row in table["rows"]:
        cells = [row["cells"].get(f"pass@1[{t}]") for t in range(len(budgets))]
        if all(cells) and not row["name"].startswith("arm: "):
            name = row["name"] if row["competitor"] else row["name"] + " °"
            rows.append([name] + [cell_text(cell) for cell in cells])
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", table["note"]])


def cell_text(cell: dict) -> str:
    return percent(cell) + (f"; {difference(cell)}" if "difference" in cell else "")


def arm_line(styles: str, arms: list) -> str:
    return f"  - styles {styles}: {'; '.join(str(arm) for arm in arms_from_json(arms))}"


def options(config: Config) -> str:
    """The options that are not at their default, as they stand on the command line of train.py."""
    words = []
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if value != field.default:
            words.append(flag(field.name))
            if value is not True:
                words.append(shlex.quote(public_name(str(value))))
    return " ".join(words)


def asked(config: Config, about: dict) -> str:
    """How the LM is prompted."""
    parts = ["in the LM's chat template" if about.get("chat") else "plain",
             "thinking" if about.get("thinking") else "",
             f"{config.shots} examples before each" if config.shots else ""]
    return ", ".join(part for part in parts if part)


def example(config: Config, prompt: str, budget: int) -> str:
    """The code of demos/adapter.py, with this run's LM, adapter, prompt and token budget."""
    code = EXAMPLE.read_text(encoding="utf-8").split('"""', 2)[2].strip()
    code = code.replace('"tiny"', json.dumps(public_name(config.model)))
    code = code.replace('"runs/sums"', '"OWNER/NAME"')
    code = code.replace("token-0", f"token-{config.seed}")
    code = code.replace(" 24,", f" {budget},")
    return code.replace('["7+8+5+9:", "12+3+4+11+6:"]', json.dumps([prompt], ensure_ascii=False))


def card(config: Config, folder: str) -> str:
    """The card of a run that has its results, whether its folder is finished or not."""
    results = read_json(f"{folder}/results.json")
    run = results["about"]
    sets = read_json(f"{folder}/selection.json")["sets"]
    prompt = read_json(f"{folder}/generations.json")[0]["prompt"]
    _, about = read_adapter(f"{folder}/token-{config.seed}.safetensors")
    budgets = run["budgets"]
    return TEMPLATE.read_text(encoding="utf-8").format(
        run=run, about=about, header=header(config), options=options(config),
        name=config.name or config.task, lm=public_name(config.model),
        origin=", which comes with the code" if config.model == "tiny" else "",
        styles=", ".join(run["styles"]), budgets=", ".join(str(T) for T in budgets),
        actions=", ".join(action_names(about["actions"])),
        arms="\n".join(arm_line(styles, selected["arms"]) for styles, selected in sets.items()),
        tables="\n\n".join(result_table(table, budgets) for table in results["tables"]),
        example=example(config, prompt, budgets[len(budgets) // 2]), asked=asked(config, about))

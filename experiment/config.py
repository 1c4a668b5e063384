"""The options of the main run, one line each, and what they load."""
import argparse
import dataclasses
import os
from dataclasses import dataclass
from typing import Any, NamedTuple, Sequence

from features import OBSERVATION_PARTS
from lm import LM
from tasks import TASKS, Task
from utils.errors import UserError
from utils.options import Parser, whole_numbers
from utils.problem_files import Problem, Source


class Variant(NamedTuple):
    """A way to train a token policy: what it observes, its learner, its problems and budgets."""
    parts: list[str]                       # of the observation
    learner: str = "ppo"                   # or reinforce, lpo
    easy: bool = False                     # only problems of `lower_difficulties`
    inner: bool = False                    # only token budgets of `inner_budgets`


def lower_difficulties(problems: list[Problem]) -> list[int]:
    """The lower half of the difficulties of these problems; none if there are fewer than two."""
    difficulties = sorted({p.difficulty for p in problems if p.difficulty is not None})
    return difficulties[:len(difficulties) // 2]


def inner_budgets(budgets: Sequence[int]) -> list[int]:
    """Every other token budget, without the smallest and the largest."""
    return list(budgets[1:-1:2])


def option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass
class Config:
    """The defaults are ours, so that a run of the embedded LM takes minutes on 2 cores. But the
    bandits' steps, and PPO's lr, entropy, iterations and batch, are those of the prototype."""
    model: str = option("tiny", "the LM: a hub id or a local folder; tiny is the embedded LM")
    task: str = option("sums", "one of " + ", ".join(TASKS))
    data: str = option("", "the task's problems: a JSON Lines or parquet file, a folder, a hub id")
    test_data: str = option("", "held-out problems, given as --data is (if empty: from --data)")
    difficulties: str = option("", "take only these, comma-separated (MATH: 1 to 5; GSM8K: steps)")
    shots: int = option(0, "solved training problems that stand before every question")
    plain: bool = option(False, "do not use the tokenizer's chat template")
    thinking: str = option("off", "on or off, for chat templates that have the switch (Qwen3)")
    name: str = option("", "the run's folder is runs/NAME (if empty: the task's name)")
    device: str = option("auto", "cpu, cuda or mps; auto takes the best one that this machine has")
    dtype: str = option("auto", "float32, bfloat16 ..; auto: float32 on a CPU, bfloat16 on a GPU")
    styles: str = option("cot", "prompt styles, comma-separated; the token level uses the first")
    budgets: str = option("", "token budgets, comma-separated, rising (if empty: the task's own)")
    seed: int = option(0, "the seed of all random numbers")
    seeds: int = option(1, "train every adapter with so many seeds: --seed, --seed + 1 ..")
    rows: int = option(512, "completions at once: memory and speed; in fp32 results stay the same")
    pool: int = option(24, "how many of the 180 strategies are sampled; greedy is one of them")
    pool_problems: int = option(120, "training problems on which the action set is selected")
    problems: int = option(400, "training problems of the reward table")
    samples: int = option(8, "samples of each problem and arm in the reward table")
    arms: int = option(6, "size of the action set (from the paper's curve)")
    filter: bool = option(False, "train without problems of constant or noisy reward (paper)")
    bandit_steps: int = option(1500, "softmax bandit, LPO, AutoDeco: training steps of 256 samples")
    linucb_steps: int = option(500, "LinUCB: training steps of 16 samples of the reward table")
    token_problems: int = option(6000, "training problems of the token level, outside the table")
    iterations: int = option(150, "token level: iterations of training")
    batch: int = option(512, "token level: rollouts in an iteration")
    token_samples: int = option(4, "token level: rollouts of a prompt, each with its own budget")
    lr: float = option(5e-4, "token level: learning rate; it falls to a tenth of this")
    entropy: float = option(0.02, "token level: weight of the entropy bonus")
    parts: str = option(",".join(OBSERVATION_PARTS), "token level: parts of the observation")
    baselines: bool = option(False, "also the paper's baselines, the ablations and transfer")
    test_problems: int = option(250, "held-out problems")
    test_samples: int = option(8, "samples of each held-out problem")

    def load_lm(self) -> LM:
        return LM.load(self.model, self.device, self.dtype)

    def all_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def all_styles(self) -> list[str]:
        return self.styles.split(",")

    def style_sets(self) -> list[list[str]]:
        """The styles of each action set: the first style alone and, if there are more, all."""
        styles = self.all_styles()
        return [styles[:1], styles] if len(styles) > 1 else [styles]

    def token_variants(self) -> dict[str, Variant]:
        """Every token policy of the run, by name."""
        parts = self.parts.split(",")
        variants = {"token": Variant(parts)}
        if self.baselines:
            variants |= {"token-no-budget": Variant([p for p in parts if p != "budget"]),
                         "token-entropy": Variant(["entropy", "budget"]),
                         "token-reinforce": Variant(parts, learner="reinforce"),
                         "token-lpo": Variant(parts, learner="lpo"),
                         "token-easy": Variant(parts, easy=True),
                         "token-inner": Variant(parts, inner=True)}
        return variants


QUICK = dict(pool=4, pool_problems=16, problems=24, bandit_steps=60, linucb_steps=20,
             iterations=4, batch=64, token_problems=200, test_problems=16)
FULL = dict(styles="cot,direct", pool=60, problems=600, bandit_steps=2000, linucb_steps=1500,
            iterations=100, token_problems=20000, test_problems=500, seeds=3, baselines=True)


def flag(name: str) -> str:
    """An option on the command line: token_samples -> --token-samples."""
    return "--" + name.replace("_", "-")


def parse(argv: list[str]) -> tuple[Config, bool, bool]:
    """(options, resume?, profile?) of a command line. Single options win over a preset."""
    parser = Parser(prog="train.py", description="Train adapters that choose how an LM samples.",
                    argument_default=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="the whole run in under 60 s")
    parser.add_argument("--full", action="store_true", help="the paper's tables, half an hour")
    parser.add_argument("--resume", action="store_true", help="continue an unfinished run")
    parser.add_argument("--profile", action="store_true", help="show where time and memory went")
    for field in dataclasses.fields(Config):
        text = f"{field.metadata['help']} (default: {field.default})"
        if isinstance(field.default, bool):
            parser.add_argument(flag(field.name), action=argparse.BooleanOptionalAction, help=text)
        else:
            kind = type(field.default)
            metavar = kind.__name__.upper()
            parser.add_argument(flag(field.name), type=kind, metavar=metavar, help=text)
    # An option that was not given is absent, and keeps the preset's value or the default
    given = vars(parser.parse_args(argv))
    flags = ("resume", "profile", "quick", "full")
    resume, profile, quick, full = (given.pop(name, False) for name in flags)
    if given.get("name") == "":
        raise UserError("--name is empty")
    if quick and full:
        raise UserError("--quick and --full exclude each other")
    preset = QUICK if quick else FULL if full else {}
    config = Config(**(preset | given))
    check(config)
    return config, resume, profile


def check(config: Config) -> None:
    """Raises UserError if an option is out of its range."""
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if type(field.default) is int and field.name not in ("seed", "shots") and value < 1:
            raise UserError(f"{flag(field.name)} must be at least 1, not {value}")
    if not 0 <= config.seed <= 4000:                       # 4,000 x 1,000,003 still fits 32 bits
        raise UserError(f"--seed must be 0 to 4000, not {config.seed}")
    if config.arms < 2:
        raise UserError(f"--arms must be at least 2, to choose among, not {config.arms}")
    if config.shots < 0:
        raise UserError(f"--shots must not be negative, not {config.shots}")
    if config.thinking == "on" and config.plain:
        raise UserError("--thinking on is part of a chat template, which --plain leaves out")
    if config.thinking not in ("on", "off"):
        raise UserError(f"--thinking is on or off, not {config.thinking!r}")
    if config.lr <= 0 or config.entropy < 0:
        raise UserError("--entropy must not be negative, --lr must be above 0")
    if config.batch % min(config.token_samples, config.batch):
        raise UserError(f"--batch must be a multiple of --token-samples, {config.token_samples}")
    if config.task not in TASKS:
        raise UserError(f"unknown task {config.task!r}; the tasks are {', '.join(TASKS)}")
    if not set(config.parts.split(",")) <= {*OBSERVATION_PARTS, "entropy"}:
        raise UserError(f"--parts takes {', '.join(OBSERVATION_PARTS)}, entropy")
    if config.baselines and config.parts == "budget":
        raise UserError("--baselines trains a policy without the budget: --parts needs another one")
    if os.path.basename(config.name) != config.name or config.name in (".", ".."):
        raise UserError(f"--name is the name of a folder under runs/, not {config.name!r}")


def load(config: Config) -> tuple[LM, Task]:
    """The LM, which is told how to prompt and where to stop, and the task: first, as it is fast."""
    task = make_task(config)
    lm = config.load_lm()
    task.chat = task.chat and bool(lm.tokenizer.chat_template)
    lm.set_prompt_format(task.chat, task.thinking, task.stop)
    return lm, task


def make_task(config: Config) -> Task:
    """The task with the problems, prompts and budgets of the options."""
    # The token level is trained on other problems than the reward table's
    table = max(config.problems, config.pool_problems)
    train = table + config.token_problems + config.shots
    difficulties = whole_numbers(config.difficulties, "--difficulties")
    source = Source(config.data, config.test_data, train, config.test_problems, difficulties)
    task = TASKS[config.task](source)
    task.chat = task.chat and not config.plain
    task.thinking = config.thinking == "on"
    if config.budgets:
        task.budgets = tuple(whole_numbers(config.budgets, "--budgets"))
    if list(task.budgets) != sorted(set(task.budgets)) or min(task.budgets) < 1:
        raise UserError(f"--budgets must be at least 1 and rise, not {config.budgets}")
    styles = config.all_styles()
    if not set(styles) <= set(task.styles) or len(set(styles)) < len(styles):
        raise UserError(f"--styles of {task.name}, each once: {', '.join(task.styles)}")
    task.add_examples(config.shots, styles)
    return task

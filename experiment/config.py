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


def option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


class Variant(NamedTuple):
    """A way to train a token policy: on what it sees, by what, on which problems and budgets."""
    parts: list[str]                       # of the observation
    learner: str = "ppo"                   # or reinforce, lpo
    easy: bool = False                     # problems of `lower_difficulties` alone
    inner: bool = False                    # token budgets of `inner_budgets` alone


def lower_difficulties(problems: list[Problem]) -> list[int]:
    """The lower half of the levels that there are; none where there are no two."""
    levels = sorted({p.difficulty for p in problems if p.difficulty is not None})
    return levels[:len(levels) // 2]


def inner_budgets(budgets: Sequence[int]) -> list[int]:
    """Every other token budget, the ends left out."""
    return list(budgets[1:-1:2])


@dataclass
class Config:
    """Values without a source are ours: sized so that the embedded job takes minutes on 2 cores.
    The bandits' steps, and PPO's lr, entropy, iterations and batch: prototype."""
    model: str = option("tiny", "hub id or local folder of the LM; tiny is the embedded one")
    task: str = option("sums", "one of " + ", ".join(TASKS))
    data: str = option("", "the task's problems: a JSON Lines or parquet file, a folder, a hub id")
    test_data: str = option("", "held-out problems, likewise (those of --data when empty)")
    levels: str = option("", "levels by commas (MATH: 1 to 5; GSM8K: steps)")
    shots: int = option(0, "examples before every question, from the training problems")
    plain: bool = option(False, "no chat template, though the tokenizer has one")
    thinking: str = option("off", "on or off, for chat templates that know it (Qwen3)")
    name: str = option("", "run folder under runs/ (the task's name when empty)")
    device: str = option("auto", "cpu, cuda or mps; auto takes what is there")
    dtype: str = option("auto", "float32, bfloat16 ..; auto: fp32 on a CPU, bf16 on a GPU")
    styles: str = option("cot", "prompt styles of the arms, by commas; token level: the first")
    budgets: str = option("", "token budgets by commas, rising (the task's own when empty)")
    seed: int = option(0, "of everything that is drawn")
    seeds: int = option(1, "trainings of every adapter on one reward table: seed, seed + 1 ..")
    rows: int = option(512, "texts that decode at once; results do not depend on it")
    pool: int = option(24, "strategies of the 180 that are sampled, greedy always")
    pool_problems: int = option(120, "training problems for the selection of the action set")
    problems: int = option(400, "training problems of the reward table")
    samples: int = option(8, "samples a problem and arm in the table")
    arms: int = option(6, "size of the action set (paper's curve)")
    filter: bool = option(False, "leave constant and noisy problems of the table out of training "
                          "(paper); the token level then trains on the rest of the table")
    bandit_steps: int = option(1500, "softmax bandit, LPO, AutoDeco: steps of 256 draws")
    linucb_steps: int = option(500, "LinUCB: steps of 16 replayed draws")
    token_problems: int = option(6000, "training problems of the token policy, none of the table's")
    iterations: int = option(150, "token level: iterations")
    batch: int = option(512, "token level: rollouts an iteration")
    token_samples: int = option(4, "token level: rollouts a prompt, each with a budget of its own")
    lr: float = option(5e-4, "token level: learning rate, falling to a tenth")
    entropy: float = option(0.02, "token level: entropy bonus")
    parts: str = option(",".join(OBSERVATION_PARTS), "token level: parts of the observation, by commas")
    baselines: bool = option(False, "the paper's rivals and ablations, and transfer, beside it")
    test_problems: int = option(250, "held-out problems")
    test_samples: int = option(8, "samples a held-out problem")

    def load_lm(self) -> LM:
        return LM.load(self.model, self.device, self.dtype)

    def all_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def all_styles(self) -> list[str]:
        return self.styles.split(",")

    def style_sets(self) -> list[list[str]]:
        """Of the arms among which an action set is picked: the first style's, and all."""
        styles = self.all_styles()
        return [styles[:1]] + [styles] * (len(styles) > 1)

    def token_variants(self) -> dict[str, Variant]:
        """Every token policy of the run, by name."""
        parts = self.parts.split(",")
        if not self.baselines:
            return {"token": Variant(parts)}
        return {"token": Variant(parts),
                "token-no-budget": Variant([p for p in parts if p != "budget"]),
                "token-entropy": Variant(["entropy", "budget"]),
                "token-reinforce": Variant(parts, "reinforce"),
                "token-lpo": Variant(parts, "lpo"),
                "token-easy": Variant(parts, easy=True),
                "token-inner": Variant(parts, inner=True)}


QUICK = dict(pool=4, pool_problems=16, problems=24, bandit_steps=60, linucb_steps=20,
             iterations=4, batch=64, token_problems=200, test_problems=16)
FULL = dict(styles="cot,direct", pool=60, problems=600, bandit_steps=2000, linucb_steps=1500,
            iterations=100, token_problems=20000, test_problems=500, seeds=3, baselines=True)


def parse(argv: list[str]) -> tuple[Config, bool, bool]:
    """(options, resume?, profile?) of a command line: a preset first, single options over it."""
    parser = Parser(prog="train.py", description="Learn to decode.",
                    argument_default=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="the whole path in under 60 s")
    parser.add_argument("--full", action="store_true", help="the paper's tables, half an hour")
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    parser.add_argument("--profile", action="store_true", help="end with a table of time, memory")
    for f in dataclasses.fields(Config):
        kind = (dict(action=argparse.BooleanOptionalAction) if type(f.default) is bool else
                dict(type=type(f.default), metavar=type(f.default).__name__.upper()))
        parser.add_argument(f"--{f.name.replace('_', '-')}", **kind,
                            help=f"{f.metadata['help']} (default: {f.default})")
    given = vars(parser.parse_args(argv))
    resume, profile, quick, full = (given.pop(k, False)
                                    for k in ("resume", "profile", "quick", "full"))
    if given.get("name") == "":
        raise UserError("--name is empty")
    if quick and full:
        raise UserError("--quick and --full exclude each other")
    config = Config(**{**(QUICK if quick else FULL if full else {}), **given})
    check(config)
    return config, resume, profile


def check(config: Config) -> None:
    """Raises UserError where an option is out of its range."""
    for f in dataclasses.fields(Config):
        value = getattr(config, f.name)
        if type(f.default) is int and f.name not in ("seed", "shots") and value < 1:
            raise UserError(f"--{f.name.replace('_', '-')} must be at least 1, not {value}")
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
        raise UserError(f"unknown task {config.task!r}; there are {', '.join(TASKS)}")
    if not set(config.parts.split(",")) <= {*OBSERVATION_PARTS, "entropy"}:
        raise UserError(f"--parts takes {', '.join(OBSERVATION_PARTS)}, entropy")
    if config.baselines and config.parts == "budget":
        raise UserError("--baselines trains a policy without the budget: --parts needs another one")
    if os.path.basename(config.name) != config.name or config.name in (".", ".."):
        raise UserError(f"--name is the name of a folder under runs/, not {config.name!r}")


def load(config: Config) -> tuple[LM, Task]:
    """Both, a mistake in the task first; the LM is asked as the task asks."""
    task = make_task(config)
    lm = config.load_lm()
    task.chat = task.chat and bool(lm.tokenizer.chat_template)
    lm.ask(task.chat, task.thinking, task.stop)
    return lm, task


def make_task(config: Config) -> Task:
    """The task with the prompts and budgets that were asked for."""
    train = max(config.problems, config.pool_problems) + config.token_problems
    task = TASKS[config.task](Source(config.data, config.test_data, train + config.shots,
                                     config.test_problems,
                                     whole_numbers(config.levels, "--levels")))
    task.chat, task.thinking = task.chat and not config.plain, config.thinking == "on"
    if config.budgets:
        task.budgets = tuple(whole_numbers(config.budgets, "--budgets"))
    if list(task.budgets) != sorted(set(task.budgets)) or min(task.budgets) < 1:
        raise UserError(f"--budgets must be at least 1 and rise, not {config.budgets}")
    styles = config.all_styles()
    if not set(styles) <= set(task.styles) or len(set(styles)) < len(styles):
        raise UserError(f"--styles of {task.name}, each once: {', '.join(task.styles)}")
    task.add_examples(config.shots, styles)
    return task

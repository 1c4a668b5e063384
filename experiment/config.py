"""The options of train.py, one line each, and those of eval.py and sample.py.

This file imports no torch, which takes seconds: a mistake in the options is told at once.
"""
import argparse
import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any, NamedTuple, Sequence

from tasks import TASKS
from utils.errors import OptionError
from utils.options import Parser, check_device_and_dtype, whole_numbers
from utils.parts import OBSERVATION_PARTS
from utils.problem_files import Problem


LEARNERS = ("ppo", "reinforce", "lpo")     # of the token level: pomdp.py, baselines/lpo.py


class Variant(NamedTuple):
    """A way to train a token policy: what it observes, its learner, its problems and budgets."""
    parts: list[str]                       # of the observation
    learner: str                           # one of LEARNERS
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
    """The defaults are ours, so that a run of the small LM takes minutes on 2 cores. But the
    bandits' steps, and PPO's lr, entropy, iterations and batch, are those of the prototype."""
    model: str = option("tiny", "the LM: a hub id or a local folder; tiny is our small LM")
    task: str = option("sums", "one of " + ", ".join(TASKS))
    data: str = option("", "the task's problems: a JSON Lines or parquet file, a folder, a hub id")
    test_data: str = option("", "held-out problems, given as --data is (if empty: from --data)")
    difficulties: str = option("", "take only these, comma-separated (MATH: 1 to 5; GSM8K: steps)")
    shots: int = option(0, "solved training problems that stand before every question")
    plain: bool = option(False, "do not use the tokenizer's chat template")
    thinking: str = option("off", "on or off, for chat templates that have the switch (Qwen3)")
    name: str = option("", "the run's folder is runs/NAME (if empty: the task's name)")
    device: str = option("auto", "cpu, cuda or mps; auto takes the best one that this machine has")
    dtype: str = option("auto", "float32, bfloat16 ..; auto: bfloat16 on a GPU; see docs/models.md")
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
    learner: str = option("ppo", "token level: ppo, reinforce (the paper's) or lpo")
    lr: float = option(5e-4, "token level: learning rate; it falls to a tenth of this")
    entropy: float = option(0.02, "token level: weight of the entropy bonus")
    top_k: int = option(0, "token level: top-k under every temperature; 0 is none")
    parts: str = option(",".join(OBSERVATION_PARTS), "token level: parts of the observation")
    baselines: bool = option(False, "also the paper's baselines, the ablations and transfer")
    test_problems: int = option(250, "held-out problems")
    test_samples: int = option(8, "samples of each held-out problem")

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
        without_budget = [part for part in parts if part != "budget"]
        variants = {"token": Variant(parts, self.learner)}
        if self.baselines:
            variants |= {"token-no-budget": Variant(without_budget, self.learner),
                         "token-entropy": Variant(["entropy", "budget"], self.learner),
                         "token-reinforce": Variant(parts, "reinforce"),
                         "token-lpo": Variant(parts, "lpo"),
                         "token-easy": Variant(parts, self.learner, easy=True),
                         "token-inner": Variant(parts, self.learner, inner=True)}
        return variants


# With a name of its own, so that it never takes the place of a longer run
QUICK: dict[str, Any] = dict(
    name="quick", pool=4, pool_problems=16, problems=24, bandit_steps=60, linucb_steps=20,
    iterations=4, batch=64, token_problems=200, test_problems=16)
FULL = dict(styles="cot,direct", pool=60, problems=600, bandit_steps=2000, linucb_steps=1500,
            iterations=100, token_problems=20000, test_problems=500, seeds=3, baselines=True)


VALIDATION = 64      # problems, every 10th iteration (ours: 6 % of a training at 5 budgets)
MAY_BE_0 = ("shots", "top_k")


def flag(name: str) -> str:
    """An option on the command line: token_samples -> --token-samples."""
    return "--" + name.replace("_", "-")


def parse(argv: list[str] | None = None) -> tuple[Config, argparse.Namespace]:
    """(options of the run, what else was asked for) of the command line.

    The latter: resume, profile, tables. Single options win over a preset.
    """
    parser = Parser(prog="train.py", description="Train adapters that choose how an LM samples.",
                    argument_default=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="the whole run in under 60 s")
    parser.add_argument("--full", action="store_true", help="the paper's tables, half an hour")
    parser.add_argument("--resume", action="store_true", help="continue an unfinished run")
    parser.add_argument("--profile", action="store_true", help="show where time and memory went")
    parser.add_argument("--tables", action="store_true", help="print all tables, not the summary "
                        "alone; they are in the run's results.txt as well")
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
    flags = ("resume", "profile", "tables", "quick", "full")
    asked = argparse.Namespace(**{name: given.pop(name, False) for name in flags})
    for name, value in given.items():                      # as an unset variable of a shell is
        if value == "":
            raise OptionError(f"{flag(name)} is empty")
    if asked.quick and asked.full:
        raise OptionError("--quick and --full exclude each other")
    preset = QUICK if asked.quick else FULL if asked.full else {}
    config = Config(**(preset | given))
    check(config)
    return config, asked


def check(config: Config) -> None:
    """Raises OptionError if an option is out of its range."""
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        lowest = 0 if field.name in MAY_BE_0 else 1
        if type(field.default) is int and field.name != "seed" and value < lowest:
            raise OptionError(f"{flag(field.name)} must be at least {lowest}, not {value}")
    if not 0 <= config.seed <= 4000:                       # 4,000 x 1,000,003 still fits 32 bits
        raise OptionError(f"--seed must be 0 to 4000, not {config.seed}")
    if config.arms < 2:
        raise OptionError(f"--arms must be at least 2, to choose among, not {config.arms}")
    if config.thinking == "on" and config.plain:
        raise OptionError("--thinking on is part of a chat template, which --plain leaves out")
    if config.thinking not in ("on", "off"):
        raise OptionError(f"--thinking is on or off, not {config.thinking!r}")
    if not (0 < config.lr < math.inf and 0 <= config.entropy < math.inf):            # nor NaN
        raise OptionError("--entropy must not be negative, --lr must be above 0, both finite")
    if config.batch % min(config.token_samples, config.batch):
        raise OptionError(f"--batch must be a multiple of --token-samples, {config.token_samples}")
    if config.task not in TASKS:
        raise OptionError(f"unknown task {config.task!r}; the tasks are {', '.join(TASKS)} (one of "
                          "your own must stand in tasks.py: docs/extending.md)")
    budgets = whole_numbers(config.budgets, "--budgets")
    if budgets and (budgets != sorted(set(budgets)) or budgets[0] < 1):
        raise OptionError(f"--budgets must be at least 1 and rise, not {config.budgets}")
    whole_numbers(config.difficulties, "--difficulties")
    if config.learner not in LEARNERS:
        raise OptionError(f"--learner is one of {', '.join(LEARNERS)}, not {config.learner!r}")
    check_device_and_dtype(config.device, config.dtype)
    if not set(config.parts.split(",")) <= {*OBSERVATION_PARTS, "entropy"}:
        raise OptionError(f"--parts takes {', '.join(OBSERVATION_PARTS)}, entropy")
    if config.baselines and config.parts == "budget":
        raise OptionError("--baselines trains a policy without the budget: --parts needs more")
    if os.path.basename(config.name) != config.name or config.name in (".", ".."):
        raise OptionError(f"--name is the name of a folder under runs/, not {config.name!r}")


def parse_eval() -> argparse.Namespace:
    parser = Parser(prog="eval.py", description="Make the tables of a run again.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--parallel", default="", help="B of the Pass@B to print, between commas "
                        "(default: the smallest and the largest sampled)")
    parser.add_argument("--against", help="another run's results.json: fails where a mean is "
                        "outside of its interval")
    args = parser.parse_args()
    args.parallel = whole_numbers(args.parallel, "--parallel")
    return args


def parse_sample() -> argparse.Namespace:
    parser = Parser(prog="sample.py",
                    description="Sample a completion of one prompt with a trained run.")
    parser.add_argument("prompt", nargs="?", help='such as "7+8+5+9:"')
    parser.add_argument("--problem", type=int, help="instead: the number of a held-out problem")
    parser.add_argument("--run", default="runs/sums", help="run folder or hub id (runs/sums)")
    parser.add_argument("--model", help="the LM, if it is not where the run's config.json says")
    parser.add_argument("--budget", type=int, help="tokens (default: the run's largest)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (default 0)")
    parser.add_argument("--compare", action="store_true",
                        help="show other policies as well: greedy, best static, the sequence level")
    args = parser.parse_args()
    if (args.prompt is None) == (args.problem is None):
        raise OptionError("give either a prompt, or --problem and a number")
    return args

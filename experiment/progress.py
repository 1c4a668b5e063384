"""About how long a run still takes: run_left, which its progress bars show beside their own time.

Nearly all of a run's time goes into completions. How many it will sample, and under which token
budgets, follows from its options; how long a token takes from those that it has sampled. Bandits
train in seconds and count as nothing; completions end before their budgets do: "about".
"""
import time
from typing import Sequence

from tqdm import tqdm

from experiment.config import VALIDATION, Config
from features import PARALLEL_BUDGETS
from utils.distributed import share


def planned_tokens(config: Config, budgets: Sequence[int]) -> int:
    """The token budgets of all completions of a run together, but for some of its baselines."""
    longest, every = max(budgets), sum(budgets)
    average = every / len(budgets)
    sets, variants = len(config.style_sets()), len(config.token_variants())
    table_problems = max(config.problems, config.pool_problems)

    # Stages 1 and 2: all arms on some problems, the action sets on the others; at the largest
    # budget, which serves all
    candidates = config.pool * len(config.all_styles())
    arms = candidates * config.pool_problems
    arms += sets * config.arms * (table_problems - config.pool_problems)

    # Stages 4 and 5: rollouts and validation; the token policy as two arms, at every token budget
    iteration = config.batch * average + VALIDATION * every / 10
    trained = variants * config.iterations * iteration
    both = 2 * table_problems * config.samples * every

    # Stage 6: variants of the token policy have half of the samples; both levels are sampled for
    # every B
    most = min(config.samples, config.test_samples)
    parallel = sum(B <= most for B in PARALLEL_BUDGETS)
    token_policies = 1 + (variants - 1) / 2
    at_each_budget = 1 + config.seeds * (token_policies + parallel)      # 1: the scripted oracle
    policies = sets * (config.arms + 2) * longest + at_each_budget * every
    tested = config.test_problems * config.test_samples * policies
    return int(arms * config.samples * longest + config.seeds * (trained + both) + tested)


class Progress:
    """Counts the tokens of this process, and says how long the others of its run will take."""

    def __init__(self) -> None:
        self.planned = 0                       # 0: not known, as after --resume
        self.sampled = 0
        self.start = 0.0

    def begin(self, planned: int) -> None:
        """planned: of all processes together; each samples its share."""
        part = share(planned)
        self.planned = part.stop - part.start
        self.sampled = 0
        self.start = time.monotonic()

    def left(self) -> dict[str, str]:
        """What a bar shows: {"run_left": "03:20"}, or nothing where that is not known."""
        if not self.planned or not self.sampled:
            return {}
        seconds_each = (time.monotonic() - self.start) / self.sampled
        still = max(0, self.planned - self.sampled)
        return {"run_left": tqdm.format_interval(seconds_each * still)}


progress = Progress()

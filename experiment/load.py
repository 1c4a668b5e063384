"""What the options of a run load: the language model and the task."""
from experiment.config import Config
from lm import LM
from tasks import TASKS, Task
from utils.errors import OptionError
from utils.options import whole_numbers
from utils.problem_files import Source


def load_lm(config: Config) -> LM:
    return LM.load(config.model, config.device, config.dtype)


def load(config: Config) -> tuple[LM, Task]:
    """The LM, which is told how to prompt and where to stop, and the task: first, as it is fast."""
    task = make_task(config)
    lm = load_lm(config)
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
    styles = config.all_styles()
    if not set(styles) <= set(task.styles) or len(set(styles)) < len(styles):
        raise OptionError(f"--styles takes {', '.join(task.styles)} for {task.name}, each once, "
                          f"not {config.styles!r}")
    task.add_examples(config.shots, styles)
    return task

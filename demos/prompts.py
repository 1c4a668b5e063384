"""Prompts, budgets and grades of the tasks that need no file.

    python -m demos.prompts                                  # 4 seconds
"""
from utils.cli import run_program        # first: then Ctrl-C prints one line while torch loads

from tasks import Task, addition, sums
from utils.options import Parser
from utils.problem_files import Source


def print_task(task: Task, before_answer: str) -> None:
    """before_answer: what a completion of this task writes before its answer."""
    print(f"{task.name}: {len(task.train)} training problems, token budgets {task.budgets}")
    for style, problem in zip(task.styles, task.train):
        print(f"  {style:7}{task.prompt(problem, style)!r}")
        # The right answer, a wrong one, and the right one in another form
        right = before_answer + problem.answer
        completions = [right, right + "0", "= " + problem.answer]
        grades = [f"{text!r} {task.grade(text, problem, False):g}" for text in completions]
        print(" " * 9 + "graded " + ", ".join(grades))


def main() -> None:
    parser = Parser(prog="demos.prompts", description="Prompts and grades of tasks without files.")
    parser.parse_args()
    source = Source("", "", train=100, test=10)
    print_task(sums(source), before_answer="#")
    print_task(addition(source), before_answer="The answer is ")


if __name__ == "__main__":
    run_program("demos.prompts", main)

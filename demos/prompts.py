"""Prompts, budgets and grades of the tasks that need no file.

    python -m demos.prompts                                  # 4 seconds
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

from tasks import addition, sums
from utils.options import Parser
from utils.problem_files import Source


def main() -> None:
    Parser(prog="demos.prompts", description="Prompts and grades of the tasks that need no file.")\
        .parse_args()
    for make, mark in ((sums, "#"), (addition, "The answer is ")):
        task = make(Source("", "", 100, 10, []))
        print(f"{task.name}: {len(task.train)} training problems, token budgets {task.budgets}")
        for style, problem in zip(task.styles, task.train):
            texts = (mark + problem.answer, f"{mark}{problem.answer}0", f"= {problem.answer}")
            print(f"  {style:7}{task.prompt(problem, style)!r}\n{'':9}graded " + ", ".join(
                f"{text!r} {task.grade(text, problem):g}" for text in texts))


if __name__ == "__main__":
    run_program("demos.prompts", main)

r"""Texts and programs with their verdicts; with two arguments: are these answers equal?

    python -m demos.verdicts                          # answers and programs with their verdicts
    python -m demos.verdicts "\frac12" "0.5"          # does the answer say what the gold one says?
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

from grading.answers import math_equal
from grading.sandbox import run_tests
from utils.options import Parser
from verify import extract_answer, extract_program

CASES = [(r"so it is \boxed{\frac12}.", "0.5"), (r"The answer is $x = \pm 2$.", "-2, 2"),
         ("so each has #### 1,234", "1234"), ("The answer is 0.333.", "1/3"),
         (r"\boxed{x > 5}", r"(5,\infty)"), (r"\boxed{(1,2]}", "[1,2]"),
         (r"\boxed{\{3, 1\}}", r"\{1, 3\}"), (r"\boxed{2\sqrt{2}}", r"\sqrt{8}"),
         ("<think>The answer is 3.</think> It is 2.", "2"), (r"cut off: \boxed{12", "12")]
PROGRAMS = ["print(sum(map(int, input().split())))", "print(input())", "while True: pass"]


def main() -> None:
    parser = Parser(prog="demos.verdicts", description="Grades answers; without any, shows how.")
    parser.add_argument("pair", nargs="*", help=r'an answer and the gold one, "\frac12" "0.5"; '
                        'behind "--" where one begins with "-"')
    pair = parser.parse_args().pair
    if len(pair) not in (0, 2):
        parser.error("an answer and the gold answer, or nothing")
    if pair:
        return print("equal" if math_equal(*pair) else "different")
    print(f"{'text':42}{'its answer':20}{'gold answer':14}verdict")
    for text, gold in CASES:
        answer = extract_answer(text)
        right = answer is not None and math_equal(answer, gold)
        print(f"{text:42}{str(answer):20}{gold:14}{'right' if right else 'wrong'}")
    print(f"\n{'program, given 1 2, to print 3':42}verdict")
    for code in PROGRAMS:
        program = extract_program(f"```python\n{code}\n```")
        print(f"{code:42}{run_tests(program, [('1 2', '3')], seconds=1, megabytes=256).status}")


if __name__ == "__main__":
    run_program("demos.verdicts", main)

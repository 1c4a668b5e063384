r"""Completions and programs with their verdicts; or, with two arguments, are these answers equal?

    python -m demos.verdicts                          # answers and programs with their verdicts
    python -m demos.verdicts "\frac12" "0.5"          # does the answer equal the gold answer?
"""
from utils.cli import run_program        # first: then Ctrl-C prints one line while torch loads

from utils.options import Parser
from verify import extract_answer, extract_program, math_equal, run_tests

# (completion, gold answer)
CASES = [(r"so it is \boxed{\frac12}.", "0.5"), (r"The answer is $x = \pm 2$.", "-2, 2"),
         ("so each has #### 1,234", "1234"), ("The answer is 0.333.", "1/3"),
         (r"\boxed{x > 5}", r"(5,\infty)"), (r"\boxed{(1,2]}", "[1,2]"),
         (r"\boxed{\{3, 1\}}", r"\{1, 3\}"), (r"\boxed{2\sqrt{2}}", r"\sqrt{8}"),
         ("<think>The answer is 3.</think> It is 2.", "2"), (r"cut off: \boxed{12", "12")]
PROGRAMS = ["print(sum(map(int, input().split())))", "print(input())", "while True: pass"]


def print_verdicts() -> None:
    print(f"{'text':42}{'its answer':20}{'gold answer':14}verdict")
    for text, gold in CASES:
        answer = extract_answer(text)
        right = answer is not None and math_equal(answer, gold)
        print(f"{text:42}{str(answer):20}{gold:14}{'right' if right else 'wrong'}")
    print(f"\n{'program, given 1 2, to print 3':42}verdict")
    for code in PROGRAMS:
        program = extract_program(f"```python\n{code}\n```")
        verdict = run_tests(program, [("1 2", "3")], seconds=1, megabytes=256)
        print(f"{code:42}{verdict.status}")


def main() -> None:
    parser = Parser(prog="demos.verdicts", description="Compares two answers, or shows verdicts.")
    parser.add_argument("pair", nargs="*", help=r'an answer and the gold answer: "\frac12" "0.5"; '
                        'put "--" before them if one begins with "-"')
    pair = parser.parse_args().pair
    if len(pair) == 2:
        print("equal" if math_equal(pair[0], pair[1]) else "different")
    elif not pair:
        print_verdicts()
    else:
        parser.error("an answer and the gold answer, or nothing")


if __name__ == "__main__":
    run_program("demos.verdicts", main)

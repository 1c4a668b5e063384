"""What a task is: problems, prompts in several styles, token budgets, and a grader.

    python -m demos.prompts              # prompts and grades of the tasks without files, 4 seconds
    python train.py                                                        # sums: needs no data
    python train.py --task gsm8k --data gsm8k_train.jsonl --model FOLDER   # a real LLM
    python train.py --task math500 --data FOLDER --model Qwen/Qwen3-4B     # FOLDER has both splits

    completion ~ LM(task.prompt(problem, style)),   r = task.grade(completion, problem), 0 or 1

A row of a file is a dictionary, which a function below turns into a Problem. It leaves out rows
that pose no gradable problem; a row that lacks what it should have stops the run, with file and
line. The problem's question is put into a style's template, perhaps after examples; `LM.encode`
puts this prompt into the chat template and makes ids of it. The training and the held-out problems
share no text (utils/problem_files.py). To add a task that reads files, write a function that makes
a Problem of a row, and add a line to FILE_TASKS below.

Deviations from the paper: (1) its prompt templates are not published; ours are below. (2) Its
tasks are MATH, AIME and CodeContests; sums and addition are for LMs that two cores can run.
"""
import functools
import itertools
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Iterable, NamedTuple, Sequence

from utils.errors import UserError
from utils.problem_files import Problem, Source, one_line, train_test_split
from verify import extract_answer, grade_answer, grade_function, grade_program, math_equal

if TYPE_CHECKING:                # not imported: options are checked before torch loads (config.py)
    from decode import Policy


# ---- a task -------------------------------------------------------------------------------------
class Style(NamedTuple):
    """A way to ask a question.

    instruction: the prompt, with {question} in it.
    example_question, example_answers: how the examples before it are written; if there are several
        answers, the first example gets the first of them, the second example the second, and so on.
    stop: in a plain prompt with examples, the string that ends a completion.
    """
    instruction: str
    example_question: str = "Question: {question}\nAnswer:"
    example_answers: tuple[str, ...] = (" {answer}\n\n",)
    stop: str = "\n"


@dataclass
class Task:
    """Problems, how they are asked, and how a completion is graded.

    grade: (text of a completion, problem, was it truncated?) -> 0 or 1.
    chat: prompts go through the tokenizer's chat template, if it has one.
    scripted_oracle: makes a policy that knows the problem (tiny.py); most tasks have none.
    examples: problems that every prompt shows with their answers.
    thinking: see `LM.set_prompt_format`.
    """
    name: str
    train: list[Problem]
    test: list[Problem]
    styles: dict[str, Style]
    budgets: tuple[int, ...]
    grade: Callable[[str, Problem, bool], float]
    chat: bool = True
    scripted_oracle: "Callable[..., Policy] | None" = None
    examples: list[Problem] = field(default_factory=list)
    thinking: bool = False

    @property
    def runs_programs(self) -> bool:
        """Are the answers programs, which the grader runs?"""
        first = self.train[0]
        return bool(first.tests or first.check)

    @property
    def plain_examples(self) -> bool:
        """Do examples come before the question, outside of any chat template?"""
        return bool(self.examples) and not self.chat

    def prompt(self, problem: Problem, style_name: str) -> str:
        style = self.styles[style_name]
        text = ""
        for example, answer in zip(self.examples, itertools.cycle(style.example_answers)):
            template = style.example_question + answer
            text += template.format(**vars(example))
        # In a plain prompt the examples show what is wanted, so it needs no instruction
        question = style.example_question if self.plain_examples else style.instruction
        return text + question.format(question=problem.question)

    @property
    def stop(self) -> str | None:
        """What ends a completion after plain examples; there the LM would ask the next question."""
        first_style = next(iter(self.styles.values()))
        return first_style.stop if self.plain_examples else None

    def add_examples(self, count: int, styles: list[str]) -> None:
        """Moves `count` training problems to the examples. Raises UserError if they are too few."""
        if count == 0:
            return
        # Examples need an answer, and a solution as well if one of the styles shows it
        answers = "".join("".join(self.styles[name].example_answers) for name in styles)
        needs_solution = "{solution}" in answers
        candidates = [x for x in self.train if x.answer and (x.solution or not needs_solution)]
        if len(candidates) < count or len(self.train) == count:
            message = (f"--shots {count} needs {count} training problems with a solution to show, "
                       f"and one more; there are {len(candidates)} of {len(self.train)}")
            if needs_solution and not candidates:
                message += "; --styles direct shows no solutions"
            raise UserError(message)

        # Take the first ones that are no longer than the median, or, if these are too few, than the
        # `count` shortest (ours: the LM reads the examples with every prompt)
        lengths = [len(x.question + x.solution + x.answer) for x in candidates]
        enough = max(count, len(lengths) // 2 + 1)
        limit = sorted(lengths)[enough - 1]
        short = [x for x, length in zip(candidates, lengths) if length <= limit]
        self.examples = short[:count]
        shown = {id(x) for x in self.examples}
        self.train = [x for x in self.train if id(x) not in shown]


# ---- styles -------------------------------------------------------------------------------------
SOLUTION_AND_ANSWER = " {solution} The answer is {answer}.\n\n"
ONLY_ANSWER = " The answer is {answer}.\n\n"
ANSWERS = {
    "cot": Style(                      # chain of thought
        "{question}\nThink step by step and end with: The answer is <answer>.",
        example_answers=(SOLUTION_AND_ANSWER,)),
    "direct": Style(                   # the answer at once
        "{question}\nGive the answer alone, without any explanation."),
    "either": Style(                   # as the model decides
        "{question}\nEnd with: The answer is <answer>.",
        example_answers=(SOLUTION_AND_ANSWER, ONLY_ANSWER))}


def code_style(instruction: str) -> Style:
    """In a plain prompt, examples show a code block, and the prompt ends where the code begins."""
    return Style(instruction, example_question="{question}\n```python\n",
                 example_answers=("{answer}\n```\n\n",), stop="```")


PROGRAMS = {
    "cot": code_style(
        "{question}\n\nExplain your idea in a few sentences, then write a Python 3 program that "
        "reads stdin and writes stdout, in one ```python block."),
    "direct": code_style(
        "{question}\n\nWrite a Python 3 program that reads stdin and writes stdout, in one "
        "```python block and nothing else.")}
FUNCTIONS = {
    "cot": code_style(
        "Explain your idea in a few sentences, then write this whole Python function in one "
        "```python block.\n\n{question}"),
    "direct": code_style(
        "Write this whole Python function in one ```python block and nothing else.\n\n{question}"),
    "short": code_style(
        "Write the shortest Python function that works, without comments, in one ```python block "
        "and nothing else.\n\n{question}"),
    "bare": code_style(                # the task alone; base models continue the function's header
        "{question}")}


# ---- tasks that need no file --------------------------------------------------------------------
def sums(source: Source) -> Task:
    """Worked sums of the small LM (tiny.py)."""
    import tiny                                  # here, since it imports torch
    source.refuse_files("sums")
    return Task(
        name="sums",
        train=sum_problems(tiny.problems("train", seed=0), source.train),
        test=sum_problems(tiny.problems("test", seed=0), source.test),
        styles={"cot": Style("{question}:"), "direct": Style("{question}?")},
        budgets=(18, 24, 30, 37, 44),                # ours: whole solutions have 13 to 72 tokens
        grade=functools.partial(grade_sum, extract=tiny.extract_sum),
        chat=False,
        scripted_oracle=tiny.scripted_oracle)


def grade_sum(text: str, problem: Problem, truncated: bool,
              extract: Callable[[str], str | None]) -> float:
    """A truncated one earns its reward if the answer stands behind its "#" already."""
    answer = extract(text)
    return float(answer is not None and math_equal(answer, problem.answer))


def sum_problems(generated: Iterable[tuple[Sequence[int], str]], count: int) -> list[Problem]:
    """`count` different sums of one part of the world; `tiny.split_of` keeps the parts apart."""
    some = itertools.islice(generated, 2 * count)                                # some come twice
    distinct = dict.fromkeys(text for _, text in some)
    problems = []
    for text in itertools.islice(distinct, count):
        numbers = [int(x) for x in text.split("+")]
        problems.append(Problem(text, answer=str(sum(numbers)), difficulty=len(numbers)))
    return problems


def addition(source: Source) -> Task:
    """Two numbers from 2 to 30: with --shots, a task for a small real LLM.

    Ours: LLMs of 135 M parameters solve too few problems of the tasks below (docs/real-llms.md).
    """
    source.refuse_files("addition")
    pairs = itertools.product(range(2, 31), repeat=2)
    problems = [Problem(f"{a}+{b}", str(a + b), f"{a}+{b}={a + b}.") for a, b in pairs]
    train, test = train_test_split(problems, None, source.train, source.test)
    # Ours: with one token a digit, 6 tokens suffice for an answer at once, 16 for all solutions
    # with their answer; 8 for the sums alone, which earn nothing without "The answer is"
    return Task("addition", train, test, ANSWERS, budgets=(6, 8, 16), grade=grade_answer)


def chains(source: Source) -> Task:
    """Three to five numbers from 2 to 12, added one by one: for LLMs of 0.5 B parameters (ours)."""
    source.refuse_files("chains")
    generator = random.Random(0)
    problems = []
    for i in range(9000):                                        # some of the short ones come twice
        numbers = [generator.randint(2, 12) for _ in range(3 + i % 3)]
        totals = list(itertools.accumulate(numbers))
        steps = [f"{total}+{number}={total + number}" for total, number in zip(totals, numbers[1:])]
        problems.append(Problem("+".join(map(str, numbers)), str(totals[-1]),
                                ", ".join(steps) + ".", len(numbers)))
    train, test = train_test_split(problems, None, source.train, source.test)
    # Ours: with steps in two of three examples an LM of 0.5 B parameters now shows them, now not
    mixed = ANSWERS["either"]._replace(example_answers=2 * (SOLUTION_AND_ANSWER,) + (ONLY_ANSWER,))
    # Tokens: 6 to 8 for the answer alone; with steps 22 to 27, 29 to 36, 38 to 47 by the numbers
    return Task("chains", train, test, ANSWERS | {"either": mixed}, budgets=(8, 26, 34, 44),
                grade=grade_answer)


# ---- tasks from files: from a row to a problem --------------------------------------------------
def math_problem(row: dict) -> Problem | None:
    r"""MATH, MATH-500 and AIME; None leaves the row out, as two of MATH.

    | the row has | answer |
    |---|---|
    | an answer | that |
    | none or an empty one, but a box in its solution | what the last box contains |
    | an empty one and no box, or an empty last box | None |
    | no answer and no box | ValueError |
    """
    solution = row.get("solution") or ""
    answer = row.get("answer")
    # Some copies have no answer, only the last box of the solution
    if answer in (None, "") and "\\boxed" in solution:
        box = solution[solution.rfind("\\boxed"):]
        answer = "" if re.match(r"\\boxed\s*\{\s*\}", box) else extract_answer(box)
    if answer == "":
        return None
    if not isinstance(answer, (str, int, float)):
        raise ValueError("neither an answer nor a boxed one in its solution")
    digits = re.findall(r"\d+", str(row.get("level")))              # 5, "Level 5", "Level ?", None
    difficulty = int(digits[0]) if digits else None
    return Problem(row["problem"].strip(), str(answer), one_line(solution), difficulty)


def gsm8k_problem(row: dict) -> Problem:
    """The answer ends in "#### n"; the difficulty is the number of calculations, <<3+4=7>>."""
    solution, mark, answer = row["answer"].rpartition("####")
    if not (mark and answer.strip()):
        raise ValueError("no #### and number end its answer")
    without_calculations = re.sub(r"<<.*?>>", "", solution)
    return Problem(row["question"].strip(), answer.strip(), one_line(without_calculations),
                   difficulty=solution.count("<<"))


PYTHON_3 = 3           # CodeContests' number for a solution's language


def code_contests_problem(row: dict) -> Problem | None:
    """With all of its tests. None for a problem that reads or writes named files."""
    if row.get("input_file") or row.get("output_file"):
        return None
    tests: list[tuple[str, str]] = []
    for kind in ("public_tests", "private_tests", "generated_tests"):
        found = row.get(kind) or {}
        tests += zip(found.get("input", ()), found.get("output", ()))
    if not tests:
        raise ValueError("no tests")

    limit = row.get("time_limit") or {}
    seconds = (limit.get("seconds") or 0) + (limit.get("nanos") or 0) / 1e9

    # The first solution in Python 3, for examples
    solutions = row.get("solutions") or {"language": [], "solution": []}
    in_python = [text for language, text in zip(solutions["language"], solutions["solution"])
                 if language == PYTHON_3]
    answer = in_python[0] if in_python else ""
    return Problem(row["description"].strip(), answer, tests=tests,
                   seconds=max(Problem.seconds, 3 * seconds))     # ours: Python is slower than C++


def humaneval_problem(row: dict) -> Problem:
    if "test_list" in row:                                          # MBPP's, to train on
        return mbpp_problem(row)
    name = row["entry_point"]
    if not re.search(rf"^def {name}\b", row["prompt"], re.MULTILINE):
        raise ValueError("its prompt does not define its entry point")
    check = f"{row['test']}\ncheck({name})\n"
    return Problem(row["prompt"], row["canonical_solution"], check=check, entry_point=name)


# The parts of MBPP by task_id, up to which each goes, and its prompt (Austin et al. 2021)
MBPP_PARTS = {10: "few-shot", 510: "test", 600: "validation", 974: "train"}
MBPP_PROMPT = ("You are an expert Python programmer, and here is your task: {text} "
               "Your code should pass these tests:\n\n{tests}")


def mbpp_problem(row: dict) -> Problem:
    """The check is the test_setup_code, which two rows have (it uses the code's own classes), and
    then the test_list."""
    part = next(name for last, name in MBPP_PARTS.items() if row["task_id"] <= last)
    code = row["code"].replace("\r\n", "\n")
    tests = "\n".join(row["test_list"])
    called = [name for name in re.findall(r"^(?:def|class)\s+(\w+)", code, re.MULTILINE)
              if re.search(rf"\b{name}\s*\(", row["test_list"][0])]
    if not called:
        raise ValueError("its first test calls nothing that its code defines")
    question = MBPP_PROMPT.format(text=row["text"].strip(), tests=tests)
    check = f"{row.get('test_setup_code') or ''}\n{tests}\n"
    return Problem(question, code, check=check, entry_point=called[-1], part=part)


# ---- the list of tasks --------------------------------------------------------------------------
# name: training files, held-out files ("": cut off the training files), row -> problem, token
# budgets (ours), styles, grader
FILE_TASKS: dict[str, tuple] = {
    "gsm8k": ("gsm8k*train*", "gsm8k*test*", gsm8k_problem, (64, 128, 256), ANSWERS, grade_answer),
    "math": ("math_train*", "math_test*", math_problem, (128, 256, 512), ANSWERS, grade_answer),
    "math500": ("math_train*", "math500*", math_problem, (128, 256, 512), ANSWERS, grade_answer),
    # AIME and HumanEval have no training problems: train on MATH (paper), on MBPP (ours)
    "aime2024": ("math_train*", "aime2024*", math_problem, (512, 1024, 2048), ANSWERS,
                 grade_answer),
    "aime2025": ("math_train*", "aime2025*", math_problem, (512, 1024, 2048), ANSWERS,
                 grade_answer),
    "code_contests": ("code_contests*", "", code_contests_problem, (256, 512, 1024), PROGRAMS,
                      grade_program),
    "humaneval": ("mbpp*", "humaneval*", humaneval_problem, (128, 256), FUNCTIONS, grade_function),
    "mbpp": ("mbpp*", "", mbpp_problem, (64, 128, 256), FUNCTIONS, grade_function)}


def task_from_files(name: str, source: Source) -> Task:
    train_files, test_files, row_to_problem, budgets, styles, grade = FILE_TASKS[name]
    train, test = source.problems(train_files, test_files, row_to_problem)
    return Task(name, train, test, styles, budgets, grade)


TASKS: dict[str, Callable[[Source], Task]] = {
    "sums": sums, "addition": addition, "chains": chains,
    **{name: functools.partial(task_from_files, name) for name in FILE_TASKS}}

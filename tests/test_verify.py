"""The number grader: what counts as an answer, and as equal."""
import pytest

from verify import extract_answer, math_equal


@pytest.mark.parametrize("text, answer", [
    ("# Step 1\n6 * 3\nThe answer is 18.", "18"), ("#### 12 and #### 29", "29"), ("7 ####", "7"),
    ("so \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"), ("\\boxed{1} then \\boxed{2}", "2"),
    ("\\boxed{3", None), ("The answer is $1,234.50.", "1,234.50"), ("6 and then 7.", "7"),
    ("He had 5. The answer is: -3 of 9", "-3"), ("none at all", None), ("", None),
    ("... #### 72", "72"), ("2/4", "2/4")])
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize("a, b, same", [
    ("29", "29", True), ("29", "2", False), ("029", "29", True), ("1,000", "1000", True),
    ("0.5", "1/2", True), ("1/3", "0.333", False), ("-3", "3", False), ("$5", "5", True),
    ("x", "x", True), ("x", "5", False), ("1/0", "1/0", True), ("1/0", "0", False)])
def test_math_equal(a, b, same):
    assert math_equal(a, b) is same and math_equal(b, a) is same

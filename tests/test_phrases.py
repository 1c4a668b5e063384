"""Expressions within sentences, and the answers that hang on where they begin and end."""
import pytest

from grading.answers import math_equal
from grading.phrases import expressions, outcome
from verify import extract_answer

# (completion, gold answer): what is read, what is not, and what was cut off
READ = [
    ('The answer is 9π square units.', '9\\pi'), ('The answer is 9 pi square units.', '9\\pi'),
    ('So the length is 4 sqrt(3).', '4sqrt(3)'), ('The answer is 3 x 10^8.', '3\\times 10^8'),
    ('The area is 10 cm^2.', '10'), ('The area is 10 cm².', '10'),
    ('The volume is 10 m^3.', '10'), ('The volume is 10 m³.', '10'),
    ('The area is 10 units^2.', '10'), ('The total is 2½.', '5/2'), ('The total is ⅛.', '1/8'),
    ('The answer is ⅚.', '5/6'), ('\\boxed{⅕}', '1/5'), ('\\boxed{⅙}', '1/6'),
    ('\\boxed{2⁻¹}', '1/2'), ('\\boxed{10⁻³}', '0.001'), ('\\boxed{10¹²}', '10^{12}'),
    ('\\boxed{2¹⁰}', '1024'), ('The total is 2¹⁰.', '1024'), ('\\boxed{x₁}', 'x_1'),
    ('\\boxed{101₂}', '101_2'), ('The answer is 101₂.', '101_2'), ('The answer is ∛8.', '2'),
    ('The answer is ―5.', '-5'), ('#### ―5', '-5'), ('#### −\xa05', '-5'), ('#### - 5', '-5'),
    ('Profit: −$5', '-5'), ('#### -$5', '-5'), ('So his change is −$20.', '-20'),
    ('The change is (−5).', '-5'), ('\\boxed{3} \\quad \\text{and} \\quad \\boxed{5}', '3,5'),
    ('\\boxed{3},\\quad \\boxed{5}', '3,5'), ('\\boxed{3} \\mbox{ or } \\boxed{5}', '3,5'),
    ('\\boxed{3}\\,\\text{or}\\,\\boxed{5}', '3,5'), ('**\\boxed{3}** and **\\boxed{5}**', '3,5'),
    ('$\\boxed{3}\\text{ cm}$ and $\\boxed{5}\\text{ cm}$', '3,5'),
    ('$x_1=\\boxed{3}$, $x_2=\\boxed{5}$', '3,5'), ('$\\boxed\\frac12$', '1/2'),
    ('The answer is clearly 12.', '12'), ('The correct answer is option (B).', 'B'),
    ('The answer is option B.', 'B'), ('The answer is choice B: 12', 'B'),
    ('<answer>The total is 12.</answer>', '12'), ('<answer>She has 12 eggs left.</answer>', '12'),
    ('<answer>#### 12</answer>', '12'), ('<answer>`12`</answer>', '12'),
    ('Final Answer: Janet makes $18 every day.', '18'),
    ('Answer: Janet makes 18 dollars every day at the market.', '18'),
    ('Final Answer: It takes 3 bolts.', '3'),
    ('Final Answer: He made a profit of $70,000.', '70000'),
    ('Final Answer: The 2 boxes have 30 apples.', '30'),
    ('Final Answer: The value of $x$ is $12$.', '12'), ('She arrives at 8:34 PM.', '8:34 PM'),
    ('The ratio is 3:4.', '3:4'), ("So it's ${3 \\over 4}$.", '3/4'),
    ('**Answer:** 16 - 3 - 4 = 9\n9 * 2 = 18\n\nSo she makes $18.', '18'),
    ('Answer: 3 apples cost $6. So each costs $2.', '2'),
    ('Answer: 3 + 4 = 7. Then 7 * 2 = 14.', '14'),
    ('Answer: 5 x 4 = 20. 20 + 3 = 23. He has 23 apples.', '23'),
    ('Answer: 20 km on day one. 30 km on day two. Total 50 km.', '50'),
    ('She has 7 apples left (10 - 3 = 7).', '7'), ('So she has $7 left ($10 - $3 = $7).', '7'),
    ('The total is 7 (3 + 4 = 7).', '7'), ('The answer is 7 (see step 3).', '7'),
    ('The answer is **7** (3 + 4).', '7'), ('The answer is actually 7.', '7'),
    ('The answer is also 7.', '7'), ('The answer is equal to 7.', '7'),
    ('The answer is given by 7.', '7'), ('The answer is still 7.', '7'),
    ('The answer is a total of 7 apples.', '7'),
    ('Answer: She will have 6 left (10 - 4 = 6).', '6'), ('She will have 6 left (10 - 4).', '6'),
    ('The answer is $\\frac{50}{3}$ (approximately 16.67).', '50/3'),
    ('The answer is $\\frac{50}{3}$ (or approximately 16.67).', '50/3'),
    ('The answer is 50/3 ≈ 16.67.', '50/3'),
    ('\\boxed{\\frac{50}{3} \\approx 16.67 \\text{ cm}}', '50/3'),
    ('The answer is $2\\sqrt{3}$ (approximately $3.46$).', '2\\sqrt3'),
    ('The answer is **$2\\sqrt{3}$** (≈ 3.46).', '2\\sqrt3'),
    ('The answer is $12\\pi$ (about 37.7).', '12\\pi'), ('$\\boxed{12}\\pi$', '12\\pi'),
    ('The answer is 12 (twelve).', '12'), ('The answer is about 12.', '12'),
    ('The answer is roughly 12 cm.', '12'), ('\\boxed{\\bf 12}', '12'),
    ('\\boxed{{\\bf 12}}', '12'), ('\\boxed{12\\ {\\rm cm}}', '12'),
    ('\\boxed{\\color{red}{12}}', '12'), ('\\boxed{\\textcolor{red}{12}}', '12'),
    ('\\boxed{\\underline{12}}', '12'), ('The final answer is 3 dogs × 4 = 12.', '12'),
    ('The answer is 3/4 (0.75).', '0.75'), ('The answer is 0.75 (75%).', '0.75'),
    ('The answer is 3/4 (or 0.75).', '0.75'),
    ('The answer is x = 3 (x = -1 is extraneous).', '3'),
    ('Thus the area is $25\\pi \\approx 78.54$.', '25\\pi'),
    ('The area is 25π ≈ 78.54 square units.', '25\\pi'),
    ('\\boxed{25\\pi \\approx 78.54}', '25\\pi'), ('The answer is approximately $12.50.', '12.5'),
    ('The answer is 1 apple.', '1'), ('The answer is 1 slice.', '1'),
    ('\\boxed{\\mathbf{R}\\setminus\\{1\\}}', '(-\\infty,1)\\cup(1,\\infty)'),
    ('\\boxed{\\mathbb{R} - \\{1\\}}', '(-\\infty,1)\\cup(1,\\infty)'),
    ('\\boxed{\\text{all real numbers}}', '\\mathbb{R}'), ('\\boxed{0.\\bar{3}}', '1/3'),
    ('\\boxed{0.\\dot{3}}', '1/3'), ('\\boxed{0.(3)}', '1/3'),
    ('The correct option is (D).', 'D'), ('- $\\boxed{5}$', '5'), ('- \\boxed{5}', '5')]
NOT_PAID = [
    ('The answer is 2 a + 3 b.', '2'), ('She needs 3 hours and 20 minutes.', '20'),
    ('The answer is 2 out of 5.', '2'), ('The answer is 5 less than x.', '5'),
    ('The answer is 5 to the power of 3.', '5'), ('The answer is 2 to the 10th.', '2'),
    ('The answer is 2 raised to the 5.', '2'), ('The answer is 3 and a half.', '3'),
    ('So it takes 2 and a half hours.', '2'),
    ('The answer is 2 times the square root of 3.', '2'),
    ('So the length is the square root of 3.', '3'),
    ('So the length is the cube root of 5.', '5'), ('So x equals the square root of 10.', '10'),
    ('The answer is 5 tens.', '5'), ('The answer is 5 degrees below zero.', '5'),
    ('It is worth 4 lakh.', '4'), ('The answer is 5 mil.', '5'), ('The answer is 5 bn.', '5'),
    ('The total is ⅝ of 16', '16'), ('So the result is ∛8.', '8'), ('#### - 5', '5'),
    ('So x is - 5.', '5'), ('Profit: -$5', '5'), ('#### -$5', '5'),
    ('So his change is −$20.', '20'), ('So he has −\\$20', '20'), ("The total is 10'000.", '0'),
    ('The total is 10’000.', '0'), ('\\boxed{3} \\quad \\text{and} \\quad \\boxed{5}', '5'),
    ('\\boxed{3},\\ \\boxed{5}', '5'), ('**\\boxed{3}** and **\\boxed{5}**', '5'),
    ('$-\\boxed{5}$', '5'), ('$x = -\\boxed{5}$', '5'),
    ('$\\boxed{3}$ cm and $\\boxed{5}$ cm', '5'), ('$x_{1}=\\boxed{3}$, $x_{2}=\\boxed{5}$', '5'),
    ('$f(1)=\\boxed{3}$ and $f(2)=\\boxed{5}$', '5'), ('\\boxed{3}\\text{, }\\boxed{5}', '5'),
    ('\\boxed{3}\\ \\text{and}\\ \\boxed{5}', '5'), ('\\boxed{3}~\\text{and}~\\boxed{5}', '5'),
    ('\\boxed{3}\\;\\text{or}\\;\\boxed{5}', '5'), ('\\boxed{3}\\; ,\\; \\boxed{5}', '5'),
    ('\\boxed{3} \\textrm{ or } \\boxed{5}', '5'), ('\\boxed{3} AND \\boxed{5}', '5'),
    ('She arrives at 8:34 PM.', '34'), ('She arrives at 8:34.', '34'), ('The ratio is 3:4.', '4'),
    ('The ratio is 3 : 4.', '4'), ('So we get (3, 4).', '4'),
    ('So the solutions are 3 and 4.', '4'), ('So the solutions are x = 3 and x = 4.', '4'),
    ('So x = 3 / 4.', '4'), ('So x = 3 + 4.', '4'), ('So x = 2 * 4', '4'),
    ('So the polynomial is x + 4.', '4'), ('So the polynomial is x - 4.', '4'),
    ('So x > 4.', '4'), ('So $x \\geq 4$.', '4'), ("So it's ${3 \\over 4}$.", '4'),
    ("So it's $3 \\cdot 4$.", '4'), ("So it's $2 \\times 4$.", '4'), ("So it's $5!$.", '5'),
    ("So it's $\\{1, 2\\}$.", '2'), ("So it's 1.5e-3.", '3'),
    ('\\boxed{\\mathbb{R} \\setminus [1,2]}', '(-\\infty,1)\\cup(1,2)\\cup(2,\\infty)'),
    ('\\boxed{\\mathbb{R} \\setminus (1,2)}', '(-\\infty,1)\\cup(1,2)\\cup(2,\\infty)'),
    ('\\boxed{[0,10] \\setminus (2,3)}', '[0,2)\\cup(2,3)\\cup(3,10]'),
    ('Answer:\n16 - 3 - 4 = 9\n9 * 2 = 18', '9'),
    ('Answer: 16 eggs - 3 - 4 = 9 eggs\n9 * $2 = $18', '9'),
    ('Answer: 20 km. 30 km. Total 50 km.', '20'), ('$\\boxed{12}\\pi$', '12'),
    ('\\boxed{12\\text{k}}', '12'), ('\\boxed{12\\text{K}}', '12'),
    ('\\boxed{12\\text{M}}', '12'), ('$\\boxed{3}\\sqrt{2}$', '3'),
    ('$\\boxed{5} \\times 10^3$', '5'), ('$\\boxed{5}/2$', '5'), ('$\\boxed{5} + 2i$', '5'),
    ('$\\boxed{5}!$', '5'), ('The answer is $\\boxed{5}$ million.', '5'),
    ('\\boxed{5}\\text{ million}', '5'), ('$x \\neq \\boxed{5}$', '5'),
    ('$\\boxed{3} < x < \\boxed{5}$', '5'), ('The dimensions are \\boxed{6} by \\boxed{8}.', '8'),
    ('The dimensions are \\boxed{6} \\times \\boxed{8}.', '8'),
    ('So the fraction is \\frac{\\boxed{3}}{\\boxed{4}}.', '4'),
    ('The ratio is $\\boxed{3}:\\boxed{4}$.', '4'), ('So $\\boxed{3} + \\boxed{4}$', '4'),
    ('$\\frac{1}{\\boxed{7}}$', '7'), ('$\\boxed{7}^2$', '7'), ('$x = 2\\boxed{7}$', '7'),
    ('It takes an hour and 20 minutes.', '20'), ('It takes one hour and 20 minutes.', '20'),
    ('He has a hundred and 20 dollars.', '20'), ('five hundred and 20 dollars.', '20'),
    ('That makes 3 kilograms and 200 grams.', '200'),
    ('That makes 3 kilometers and 200 meters.', '200'), ('That makes 3 km and 200 m.', '200'),
    ('That makes 3 kg 200 g.', '200'), ('That is 4 kilograms, 250 grams.', '250'),
    ('That makes 2 liters and 300 milliliters.', '300'), ('That is 2 gallons and 3 quarts.', '3'),
    ('That makes 2 cups and 3 tablespoons.', '3'), ('3 to the fourth power', '3'),
    ('\\boxed{3\\text{ K}}', '3'), ('\\boxed{3\\text{ grand}}', '3'),
    ('His height is 5\'11".', '11'), ('He has one and 1/2 apples.', '1/2'),
    ('He has two and 3/4 apples.', '3/4'), ('He has two million 500 thousand dollars.', '500000'),
    ('He paid two-fifths of 80.', '80'), ('He paid a tenth of 80.', '80'),
    ('He paid one-fourth of $80.', '80'), ('He paid 20% less than 80.', '80'),
    ('He paid 20% off 80.', '80'), ('He paid $5 less than $80.', '80'),
    ('He paid three times 8.', '8'), ('That is ten more than 8.', '8'),
    ('So it is log base 2 of 8', '8'), ('3 raised to the power of 4.', '4'),
    ('So the total comes to 5 grand.', '5'), ("It's 5 degrees below zero.", '5'),
    ("That's 5 below zero.", '5'), ('\\boxed{2.(5)}', '10'), ('\\boxed{0.(3)}', '0'),
    ('Therefore, 7 (3 + 4) apples remain.', '49'), ('The answer is 7 (3 + 4).', '49'),
    ('So she pays $30 (20% off $37.50).', '37.5'),
    ('So the side is 7 m long (rounded to the nearest 10).', '10')]
CUT = [
    ('Let me find the answer:\n1. There are 4 boxes.\n2. Each has 5', '1'),
    ('The answer will be 5 times the sum of 3 and', '5'), ('The answer is 12 times', '12'),
    ('The answer is $5', '5'), ('The answer is $5 + 3', '8'), ('The answer is \\(5', '5'),
    ('The possible answers are 3 and', '3'), ('The answers are 3,', '3'),
    ('\\boxed{3} and $\\boxed', '3'), ('The solutions are $x=\\boxed{3}$ and', '3'),
    ('The solutions are $\\boxed{3}$ and $', '3'),
    ('The solutions are $x=\\boxed{3}$ or $x = ', '3'),
    ('Question: 5 apples. Answer: She has 5 apples and buys 3', '5'),
    ('Answer: First we compute 3*4 = 12', '12'),
    ('Answer: Tom has 5 apples and gives away 2', '5'), ('To find the answer = 3 * 5', '15'),
    ('Answer: 5 * 3 = 15\n15 + 4 = 19\nSo the', '15'), ('Answer:\n16 - 3 - 4 = 9\n9 * 2', '9'),
    ('Answer: 3 apples cost $6. So each costs', '3'),
    ('Answer: 40 miles in the first hour. Then in the second', '40'),
    ('Answer: 20 - 8 = 12 apples remain. He then', '12'),
    ('The answer to part (a) is 9. For part (b), we', '9'),
    ('The answer for the first part is 9. Next, we', '9'),
    ("So this answer is 9? No. Let's recount: there are", '9'),
    ('My first answer was 9. But that is wrong, since the', '9'),
    ('The answer should be 3 digits long. Consider', '3'), ('#### 5 *', '5'),
    ('The answer is $\\boxed{5}\\pi', '5'), ('The answer is $\\boxed{5}^', '5')]
# Answers that are equal and answers that are not
SAME = [
    ('5π cm²', '5\\pi'), ('5~\\text{m}/\\text{s}', '5'),
    ('5\\ \\text{m}\\cdot\\text{s}^{-1}', '5'), ('5 \\frac{\\text{m}}{\\text{s}}', '5'),
    ('5 \\text{ kg}\\cdot\\text{m}^2', '5'), ('―5', '-5'), ('√12', '2\\sqrt3'), ('∛8', '2'),
    ('x⁻¹', '1/x'), ('10⁻³', '0.001'), ('x¹²', 'x^{12}'), ('x⩾2', '[2,\\infty)'),
    ('x≦2', '(-\\infty,2]'), ('⅛', '1/8'), ('α', '\\alpha'), ('∠ABC', '\\angle ABC'),
    ('30˚', '30'), ('3 ∗ 4', '12'), ('\u200e5', '5'), ('x ∈ ℝ', '\\mathbb{R}'), ('φ', '\\phi'),
    ('Δ', '\\Delta'), ('（1，2）', '(1,2)'), ('1：2', '1:2'), ('x＋1', 'x+1'), ('＋5', '5'),
    ('0.\\overline{3}', '1/3'), ('0.\\overline{9}', '1'), ('5:30 \\mathrm{PM}', '5:30 p.m.'),
    ('\\text{5:30 PM}', '5:30 p.m.'), ('25\\text{°C}', '25'), ('25 \\text{ °C}', '25'),
    ('{{3} \\over {4}}', '3/4'), ('{\\sqrt{3} \\over 2}', '\\frac{\\sqrt3}{2}'),
    ('{1\\over \\sqrt{2}}', '\\frac{\\sqrt2}2'), ('{{1 \\over 2} \\over 3}', '1/6'),
    ('\\left[\\begin{matrix}1&2\\\\3&4\\end{matrix}\\right]',
     '\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}'),
    ('3or4', '3,4'),
    ('\\mathbb{R} \\setminus \\{2, -2\\}', '(-\\infty,-2)\\cup(-2,2)\\cup(2,\\infty)'),
    ('[0,36]\\setminus\\{0\\}', '(0,36]'), ('`5`', '5'), ('"5"', '5'), (': 5', '5')]
DIFFERENT = [
    ('5 tens', '5'), ('5 millionths', '5'), ('5 billionths', '5'), ('5 zillions', '5'),
    ('5 fifteenths', '5'), ('5 twentieths', '5'), ('5 twelfths', '5'), ('5 elevenths', '5'),
    ('5 thirteenths', '5'), ('5 sixteenths', '5'), ('5 lakhs', '5'), ('5 crores', '5'),
    ('5 quadrillions', '5'), ('(0,36)\\setminus\\{50\\}', '(0,50)\\cup(50,36)')]


@pytest.mark.parametrize("line, found", [
    ("so he has 3 + 4 = 7 apples.", ["3 + 4 = 7"]), ("the ratio is 3 : 4.", ["3 : 4"]),
    ("it is $5$ million, I think", ["5$ million"]), ("it takes 20 minutes", ["20"]),
    ("it takes 3 hours and 20 minutes", ["3 hours and 20"]),
    ("the square root of 3", ["square root of 3"]),
    ("are x = 3 and x = 4", ["x = 3 and x = 4"]), ("5 apples and 3 pears", ["5", "3"]),
    ("a 5x^2 of I", ["5x^2"]), ("60 km/h for 2 hours", ["60", "2"]), ("tax + 5", ["tax + 5"]),
    ("an area of 5 cm^2", ["5"]), ("5!", ["5"]), ("$5!$", ["5!"]),
    ("at 8:34 p.m. or so", ["8:34 p.m."]),
    ("25% of the plants", ["25%"]), ("25% of 8", ["25% of 8"]),
    ("2 and a half hours", ["2 and a half"]),
    (r"is $\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$",
     [r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"]),
    ("no number here", []), ("", [])])
def test_where_expressions_begin_and_end(line, found):
    assert [line[begin:end] for begin, end in expressions(line)] == found


@pytest.mark.parametrize("expression, said", [
    ("3 + 4 = 7", "7"), ("x = 3 and x = 4", "x = 3 and x = 4"), ("200, 2 x 8 = 16", "16"),
    ("(5", "5"), ("(3, 4]", "(3, 4]"), ("f(5)", "f(5)"), ("5 =", ""), ("x = 1,234", "1,234"),
    (r"x \\approx 5", "5"), (r"\\sum_{i=1}^{5}", r"\\sum_{i=1}^{5}")])
def test_what_an_expression_says(expression, said):
    assert outcome(expression) == said


@pytest.mark.parametrize("text, gold", READ)
def test_a_right_answer_is_read(text, gold):
    assert math_equal(extract_answer(text) or "", gold)


@pytest.mark.parametrize("text, gold", NOT_PAID)
def test_a_part_of_an_expression_is_not_paid(text, gold):
    assert not math_equal(extract_answer(text) or "", gold)


@pytest.mark.parametrize("text, gold", CUT)
def test_an_answer_that_was_cut_off_is_not_paid(text, gold):
    assert not math_equal(extract_answer(text, truncated=True) or "", gold)


@pytest.mark.parametrize("a, b", SAME)
def test_same(a, b):
    assert math_equal(a, b) and math_equal(b, a)


@pytest.mark.parametrize("a, b", DIFFERENT)
def test_different(a, b):
    assert not math_equal(a, b) and not math_equal(b, a)


@pytest.mark.parametrize("text, gold", [
    ("So he pays $40 + $24 = $64 for 16 glasses.", "64"),
    ("It is 9 + 6 = 15 liters out of the 24.", "15"),
    ("That is 75 = 75 bees in the last 6 hours.", "75"),
    ("32 / 96 = 33.3, which rounds to 33.", "33"),
    ("It takes 3 * 4 = 12 hours. That is 12 of 24.", "12"), ("He works for 16 hours.", "16")])
def test_what_an_equation_leads_to_comes_before_the_words_behind_it(text, gold):
    assert math_equal(extract_answer(text) or "", gold)


@pytest.mark.parametrize("text", [
    "5 * 5 = 25\n\\boxed{25}", "so it is 25 \\boxed{25}", "1. \\boxed{25}",
    "= \\boxed{25}\n\n4 + 4",
    "$x=25$. $\\boxed{25}$, since 5^2 = 25"])
def test_a_number_in_another_line_or_sentence_is_no_part_of_a_box(text):
    assert extract_answer(text) == "25"

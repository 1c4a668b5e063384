"""What is graded of a completion: its text, without the reasoning, and whether it is truncated."""
import json
import os

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (LlamaConfig, LlamaForCausalLM, LlamaTokenizer, OPTConfig, OPTForCausalLM,
                          PreTrainedTokenizerFast)

from conftest import ROOT
from decode import GREEDY, Strategy, generate, rollout, static
from experiment.reward_table import Arm, grade_fn, sample_static
from lm import LM
from tasks import ANSWERS, FUNCTIONS, Style, Task
from utils.detokenizer import Detokenizer
from utils.errors import UserError
from utils.problem_files import Problem
from utils.reasoning import REASONING_TAGS
from verify import extract_answer, grade_answer, grade_function


def small_llama(tokenizer, size):
    torch.manual_seed(0)
    return LM(LlamaForCausalLM(LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, initializer_range=0.5, eos_token_id=tokenizer.eos_token_id)),
        tokenizer)


def letters(special=(), template=None):
    """An LM with one token a character, and the special tokens."""
    names = ["<unk>", "<s>", "</s>", *special] + [chr(i) for i in [10, *range(32, 127)]]
    tokenizer = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return small_llama(PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=list(special), chat_template=template), len(names))


def ids_of(lm, text):
    return lm.tokenizer(text, add_special_tokens=False).input_ids


# ---- text ----------------------------------------------------------------------------------------
PIECES = ["<unk>", "<s>", "</s>", "▁", "▁▁▁", "▁▁▁▁▁▁▁", "▁return", "▁x", "▁*", "▁2", "+", "▁if"]


@pytest.fixture(scope="module")
def sentencepiece():
    """As Llama 2's tokenizer: a text's first space is not decoded, bytes are tokens."""
    names = PIECES + [f"<0x{i:02X}>" for i in range(256)]
    tokenizer = LlamaTokenizer(vocab={n: i for i, n in enumerate(names)}, merges=[])
    return small_llama(tokenizer, len(names))


HEADER = 'def twice(x):\n    """Twice x."""\n'
TWICE = Problem(HEADER, "", check="def check(f):\n    assert f(2) == 4\ncheck(twice)\n")


def test_a_function_s_body_keeps_its_first_space(sentencepiece):
    lm = sentencepiece
    body = [PIECES.index(x) for x in ("▁▁▁", "▁return", "▁x", "▁*", "▁2", "</s>")]
    assert lm.decode(body) == "   return x * 2"                  # by itself: three spaces of four
    assert lm.text(body, lm.encode(HEADER)) == "    return x * 2"
    task = Task("humaneval", [TWICE], [TWICE], FUNCTIONS, (8,), grade_function)
    assert grade_fn(lm, task, [TWICE], [HEADER])(0, torch.tensor(body)) == 1


@pytest.mark.parametrize("prompt", ["", "x", "x\n", "漢", " ", "é x  ", "漢" * 30])
@pytest.mark.parametrize("tokens", [["▁x", "▁*", "▁2"], ["+", "▁2"], ["▁", "▁x"], ["▁▁▁", "▁if"],
                                    ["<0xE6>", "<0xBC>", "<0xA2>", "▁x"], ["<0x0A>", "▁▁▁▁▁▁▁"]])
def test_a_text_is_what_it_adds_to_its_prompt_and_what_the_screen_shows(sentencepiece, prompt,
                                                                        tokens):
    lm = sentencepiece
    names = PIECES + [f"<0x{i:02X}>" for i in range(256)]
    ids = lm.encode(prompt)
    completion = [names.index(x) for x in tokens]
    text = lm.text(completion, ids)
    assert lm.decode(ids + completion) == lm.decode(ids) + text
    if prompt:
        spelled = "".join(tokens[:1] if "<" not in tokens[0] else []).replace("▁", " ")
        assert text.startswith(spelled)
    pieces = Detokenizer(lm.decode, ids)
    assert "".join(pieces.add(y, i == len(tokens) - 1) for i, y in enumerate(completion)) == text


# ---- reasoning -----------------------------------------------------------------------------------
OPENS = ("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
         "{% if add_generation_prompt %}TAG\n{% endif %}")
TWO_THREE = Problem("2+3?", "5")


def reward(lm, tokens, prompt="2+3?", end=True):
    task = Task("one", [TWO_THREE], [TWO_THREE], ANSWERS, (8,), grade_answer)
    tokens = tokens + [lm.tokenizer.eos_token_id] * end
    return grade_fn(lm, task, [TWO_THREE], [prompt])(0, torch.tensor(tokens))


@pytest.mark.parametrize("tag", [tag for tag in REASONING_TAGS if tag.isascii()] + ["<Think>"])
@pytest.mark.parametrize("is_token", [False, True])
def test_reasoning_is_no_answer_wherever_it_begins(tag, is_token):
    closing = REASONING_TAGS[tag.lower()]
    lm = letters([tag, closing] if is_token else [], OPENS.replace("TAG", tag))
    inside = r"Maybe \boxed{5}? The answer is 5"
    opened, closed = ids_of(lm, tag), ids_of(lm, closing)
    answer = ids_of(lm, r"So it is \boxed{5}.")
    wrong = ids_of(lm, r"So it is \boxed{6}.")
    assert (len(opened) == 1) == is_token

    # The template opens the reasoning: it ends, it does not, it ends wrongly
    lm.set_prompt_format(chat=True)
    assert lm.tokenizer.decode(lm.encode("2+3?")).endswith(tag + "\n")
    inside = ids_of(lm, inside)
    assert reward(lm, inside) == reward(lm, inside, end=False) == reward(lm, answer) == 0
    assert reward(lm, inside + closed + answer) == 1
    assert reward(lm, inside + closed + wrong) == 0
    assert reward(lm, inside + closed) == 0                       # nothing is said behind it
    assert reward(lm, inside + closed + opened + answer) == 0     # a second reasoning

    # The LM opens it, or the prompt has it already closed, or there is none
    lm.set_prompt_format()
    assert reward(lm, opened + inside) == reward(lm, opened + inside, end=False) == 0
    assert reward(lm, opened + inside + closed + answer) == 1
    assert reward(lm, answer, prompt=f"2+3?{tag}") == 0
    assert reward(lm, answer, prompt=f"2+3?{tag}{closing}") == 1
    assert reward(lm, answer, prompt=f"What does {tag} mean?") == 1
    assert reward(lm, answer, prompt=f"2+3?{tag}\nOkay,") == 0
    assert reward(lm, closed + answer, prompt=f"2+3?{tag}\nOkay,") == 1


@pytest.mark.parametrize("is_token", [False, True])
def test_another_pair_does_not_close_what_is_open(is_token):
    special = ["<think>", "</think>"] if is_token else []
    lm = letters(special, OPENS.replace("TAG", "<think>"))
    lm.set_prompt_format(chat=True)
    answer = r"\boxed{5}"
    for inside in ("I write <reasoning>x</reasoning> ", "as in </reasoning> ", "[THINK]a[/THINK]"):
        assert reward(lm, ids_of(lm, inside + answer)) == 0
        assert reward(lm, ids_of(lm, inside + "6</think>" + answer)) == 1


def test_a_tag_that_is_a_token_is_not_closed_by_its_letters():
    lm = letters(["<think>", "</think>"], OPENS.replace("TAG", "<think>"))
    lm.set_prompt_format(chat=True)
    names = lm.tokenizer.get_vocab()
    quoted = [names[c] for c in r"I must write </think> before \boxed{5}"]
    assert "</think>" in lm.text(quoted) and reward(lm, quoted) == 0
    assert reward(lm, [*quoted, names["</think>"], *ids_of(lm, r"\boxed{5}")]) == 1


# ---- truncated completions -----------------------------------------------------------------------
@pytest.mark.parametrize("text, ended, truncated", [
    ("2+3 makes 5", 1, 0), ("so we have 5", 1, 0), ("= 5", 1, 0), ("the answer: 5", 1, 1),
    ("The answer is 5", 1, 1), (r"\boxed{5} is it, s", 1, 1), (r"2 + 3 = 5, so \boxed{", 0, 0),
    ("#### 5", 1, 1), (r"it is \boxed{5}", 1, 1), ("first 4, then 5", 1, 0),
    ("5\n\nLet me ", 1, 0)])
def test_the_last_number_is_an_answer_only_of_a_completion_that_ended(text, ended, truncated):
    lm = letters()
    assert reward(lm, ids_of(lm, text), end=True) == ended
    assert reward(lm, ids_of(lm, text), end=False) == truncated


def test_a_prefix_is_truncated_at_every_token_budget_but_those_behind_its_end(lm):
    seen = []
    problem = Problem("7+8+5+9", "29")

    def grade(text, problem, truncated):
        seen.append((text, truncated))
        return 0.0

    task = Task("one", [problem], [problem], {"": Style("{question}:")}, (3, 8, 40, 44), grade,
                chat=False)
    sample_static(lm, task, [problem], Arm("", GREEDY), 1, 0, 64)
    episode, = generate(lm, ["7+8+5+9:"], static(torch.tensor([GREEDY])), 44)
    whole = lm.text(episode.tokens)
    assert not episode.truncated and 8 < len(episode.tokens) <= 40
    assert seen == [(whole[:3], True), (whole[:8], True), (whole, False)]


DATA = os.environ.get("ALD_DATA", os.path.join(ROOT, "../shared/data"))


@pytest.mark.skipif(not os.path.isdir(DATA), reason="the problems' files are not here")
def test_math_solutions_that_are_cut_before_their_box_are_not_paid():
    with open(f"{DATA}/math500_test.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    paid = 0
    for row in rows:
        before = row["solution"][:row["solution"].index("\\boxed")]
        problem = Problem(row["problem"], row["answer"])
        assert grade_answer(row["solution"], problem, True) == 1
        paid += grade_answer(before, problem, True)
    assert paid == 0                                       # as ended ones, 69 of 500 are


# ---- vocabularies and heads ----------------------------------------------------------------------
def with_holes():
    """Only 120 of the ids 97 to 129 is a token; the end token has the largest id, 130."""
    vocabulary = {"<unk>": 0, "<s>": 1, "\n": 120, "</s>": 130}
    vocabulary |= {chr(i): i - 30 for i in range(32, 127)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return small_llama(PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"), 136)


def test_the_end_token_of_a_vocabulary_with_holes_is_drawn_and_a_stop_is_found():
    lm = with_holes()
    ids = lm.encode("ab")
    hidden = lm.model.model(torch.tensor([ids])).last_hidden_state[0, -1]
    lm.model.lm_head.weight[130] = 100 * hidden                   # this LM wants to end at once
    ours, = rollout(lm, [ids], static(torch.tensor([GREEDY])), torch.tensor([8]), torch.tensor([0]))
    theirs = lm.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=8,
                               pad_token_id=0)[0, len(ids):]
    assert ours.tokens.tolist() == theirs.tolist() == [130] and not ours.truncated
    assert lm.vocabulary == 131 > len(lm.tokenizer)
    lm.set_prompt_format(stop="\n")
    assert set(lm.ends.tolist()) == {130, 120}
    hot, = rollout(lm, [ids], static(torch.tensor([Strategy(1e9)])), torch.tensor([500]),
                   torch.tensor([0]))
    assert int(hot.tokens.max()) <= 130


@pytest.mark.parametrize("width", [16, 32])
def test_a_head_narrower_than_the_hidden_size_is_decoded(width):
    torch.manual_seed(0)
    model = OPTForCausalLM(OPTConfig(
        vocab_size=60, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
        eos_token_id=1, max_position_embeddings=64, word_embed_proj_dim=width, init_std=0.5,
        do_layer_norm_before=False))
    lm = LM(model, with_holes().tokenizer)
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12], [13]]
    episodes = rollout(lm, prompts, static(torch.tensor([GREEDY])), torch.full((3,), 9),
                       torch.arange(3))
    model.generation_config.eos_token_id = lm.ends.tolist()
    for prompt, episode in zip(prompts, episodes):
        theirs = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=9,
                                pad_token_id=0)[0, len(prompt):]
        assert episode.tokens.tolist() == theirs.tolist() and len(episode.e) == width == lm.d


# ---- strategies out of range ---------------------------------------------------------------------
@pytest.mark.parametrize("bad", [
    Strategy(-1.0), Strategy(float("nan")), Strategy(float("inf")), Strategy(1.0, top_k=-1),
    Strategy(1.0, top_k=2.5), Strategy(1.0, top_p=-.1), Strategy(1.0, top_p=1.1),
    Strategy(1.0, min_p=1.5), Strategy(1.0, min_p=-.1), Strategy(1.0, min_p=float("nan"))])
def test_a_strategy_out_of_range_is_refused_by_name(lm, bad):
    with pytest.raises(UserError, match="no strategy: Strategy"):
        static(torch.tensor([GREEDY, bad]))


@pytest.mark.parametrize("temperature", [1e-40, 1e-38, 1e-31, 1e-29, 1e-10])
def test_a_temperature_near_zero_is_greedy(lm, temperature):
    prompts = ["7+8+5:", "9+4+6+11:"]
    greedy = generate(lm, prompts, static(torch.tensor([GREEDY])), 30)
    cold = generate(lm, prompts, static(torch.tensor([Strategy(temperature, 3, 0.9)])), 30)
    assert [x.tokens.tolist() for x in cold] == [x.tokens.tolist() for x in greedy]


def test_a_last_number_is_still_found_in_plain_text():
    assert extract_answer("it is 5") == "5" and extract_answer("it is 5", truncated=True) is None

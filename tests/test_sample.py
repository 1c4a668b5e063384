"""Text as it is sampled: whole characters, and together what the tokenizer makes of all tokens."""
import io
import random
import re

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from decode import Strategy, generate, prompt_key, rollout, static
from lm import LM
from pomdp import TokenPolicy
from sample import MARKS, Stream, coloured
from utils.detokenizer import Detokenizer

TEXT = "naïve 漢字 über 🙂👩‍🔬 don't , stop . Ωμέγα 数学は楽しい! a  b\n\tc "
BROKEN = "\N{REPLACEMENT CHARACTER}"


def byte_level():
    """As of GPT-2, Llama 3, Qwen: a token is some bytes, of a character or of several."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([TEXT, "naïve über"] * 2, trainers.BpeTrainer(
        vocab_size=280, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>"]))
    return tokenizer


def sentence_pieces():
    """As of Llama 2, Mistral, Gemma: a mark for a space, and single bytes for rare characters."""
    vocabulary = (["<s>", "</s>", "<unk>"] + [f"<0x{i:02X}>" for i in range(256)]
                  + [*"abcdehiloprstuv,.!'", "\N{LOWER ONE EIGHTH BLOCK}"])
    tokenizer = Tokenizer(models.BPE({x: i for i, x in enumerate(vocabulary)}, [],
                                     unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    space = "\N{LOWER ONE EIGHTH BLOCK}"
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    return tokenizer


@pytest.fixture(scope="module", params=[byte_level, sentence_pieces])
def tokenizer(request):
    return PreTrainedTokenizerFast(tokenizer_object=request.param(), bos_token="<s>",
                                   eos_token="</s>")


@pytest.fixture(scope="module")
def bytes_lm():
    """A random LM that says bytes."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), bos_token="<s>",
                                        eos_token="</s>")
    torch.manual_seed(3)
    return LM(LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, initializer_range=0.5, eos_token_id=1)), tokenizer)


def told(decode, tokens):
    pieces = Detokenizer(decode)
    return [pieces.add(t, i == len(tokens) - 1) for i, t in enumerate(tokens)]


def test_pieces_of_whole_characters_are_together_the_text(tokenizer):
    def decode(tokens):
        return tokenizer.decode(tokens, skip_special_tokens=True)

    ids = tokenizer(TEXT, add_special_tokens=False).input_ids + [1]
    pieces = told(decode, ids)
    assert "".join(pieces) == decode(ids) and "漢" in decode(ids) and len(ids) > 60
    assert not any(BROKEN in piece for piece in pieces)
    assert sum(map(bool, pieces)) > 30                        # and not all at the end
    for i in range(len(ids)):
        assert "".join(told(decode, ids[i:])) == decode(ids[i:])
        special = ids[:i] + [0] + ids[i:]                      # one that is left out: spaces stay
        assert "".join(told(decode, special)) == decode(ids)


def test_pieces_of_any_bytes_are_together_the_text():
    tokenizer, draw = byte_level(), random.Random(0)
    for _ in range(300):
        tokens = [draw.randrange(280) for _ in range(draw.randrange(1, 30))]
        pieces = told(tokenizer.decode, tokens)
        assert "".join(pieces) == tokenizer.decode(tokens)


class Screen(io.StringIO):
    """Counts what is printed and not flushed: it would not be seen yet."""
    seen = ""

    def flush(self):
        self.seen = self.getvalue()


@pytest.mark.parametrize("which", ["tiny", "bytes"])
def test_each_token_is_seen_before_the_next_is_asked_for(lm, bytes_lm, which, monkeypatch):
    if which == "bytes":
        lm = bytes_lm                          # whose texts may end within a character
        monkeypatch.setattr(lm, "ends", torch.arange(1, len(lm.tokenizer), 9))
    policy = static(torch.tensor([Strategy(1.2)]))
    for prompt in ("7+8+5+9:", "3+4:", "1+2:", "5+6:", "2+3:", "9+8:"):
        screen, seen = Screen(), []
        monkeypatch.setattr("sys.stdout", screen)

        def watched(state):
            seen.append(screen.seen)
            return policy(state)

        episode, = generate(lm, [prompt], watched, 30, seed=4,
                            on_step=Stream(lm, False, prompt, prompt))
        silent, = generate(lm, [prompt], policy, 30, seed=4)
        assert torch.equal(episode.tokens, silent.tokens)
        assert screen.seen == prompt + lm.text(episode.tokens) and seen[0] == ""
        for t in range(1, len(seen)):
            whole = prompt + lm.text(episode.tokens[:t])
            assert whole.startswith(seen[t]) and set(whole[len(seen[t]):]) <= {BROKEN}


@pytest.mark.parametrize("colour", [False, True])
def test_marks_and_colours_stand_at_decisions_and_leave_the_text_as_it_is(lm, colour, capsys):
    torch.manual_seed(1)
    adapter = TokenPolicy(lm.d, 44)
    torch.nn.init.normal_(adapter.actor[-1].weight, std=0.3)
    episode, = generate(lm, ["7+8+5+9:"], adapter, 44, seed=1,
                        on_step=Stream(lm, colour, "7+8+5+9:"))
    shown = capsys.readouterr().out
    mark = re.compile(r"\x1b\[\d+m(.)\x1b\[0m" if colour else f"(.)[{MARKS}]")
    assert mark.sub(r"\1", shown) == lm.text(episode.tokens)
    assert coloured("", 1, colour) == ""                      # a piece that is not complete
    decided = lm.text(episode.tokens[episode.decision_steps])
    assert "".join(mark.findall(shown)) == decided != ""


def test_generate_is_rollout_of_the_prompts_ids_keyed_by_their_texts(lm):
    prompts, policy = ["7+8+5+9:", "3+4+5:"], static(torch.tensor([Strategy(1.2)]).repeat(6, 1))
    ids, keys = [lm.encode(p) for p in prompts], torch.tensor([prompt_key(p) for p in prompts])
    budgets = torch.full((6,), 9)
    whole = rollout(lm, ids, policy, budgets, keys, 3, seed=2)
    for T in (9, budgets):
        again = generate(lm, prompts, policy, T, 3, seed=2)
        assert [(x.prompt, x.sample, x.budget, x.tokens.tolist()) for x in again] == [
            (x.prompt, x.sample, 9, x.tokens.tolist()) for x in whole]

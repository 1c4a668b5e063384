"""The cached step and the padded prefill, each alone, against the LM without a cache."""
import pytest
import torch
from transformers import (DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM)

from batch import Batch
from lm import LM
from test_decode import Letters


def small(name: str) -> LM:
    """With learned positions, where a shift of all shows, or rotary ones, where differences do."""
    torch.manual_seed(2)
    size = dict(vocab_size=50, eos_token_id=1, initializer_range=0.5)
    return LM(GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=40, **size))
              if name == "GPT-2" else LlamaForCausalLM(LlamaConfig(
                  hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                  max_position_embeddings=40, **size)), Letters(50))


def whole(lm: LM, text: list[int]):
    """(logits, h) behind a text, without a cache."""
    logits = lm.model(torch.tensor([text])).logits[0, -1]
    return logits, lm.h[0].clone()


def alike(ours, theirs) -> bool:
    return torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.assignment_2
@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_a_cached_step_is_the_lm_on_the_whole_row(name, monkeypatch):
    """11 rows take turns in 9 slots, so that their ages differ; at the end one slot is empty."""
    lm = small(name)

    def prefill(prompts, shared=0):              # of one length: nothing is padded
        ids, cache = torch.tensor(prompts), DynamicCache()
        mask = torch.ones_like(ids).bool()
        return lm.forward(ids, torch.arange(3).expand_as(ids), mask, cache), cache, mask

    monkeypatch.setattr(lm, "prefill", prefill)
    texts = [[i, i + 1, i + 2] for i in range(5, 27, 2)]
    budgets = torch.tensor([9, 4, 13, 6, 11, 13, 13, 13, 13, 10, 13])
    batch = Batch(lm, texts, budgets, lambda rows: torch.zeros(len(rows), 2, 14), 1, rows=9)
    texts, empty = [list(text) for text in texts], 0
    while batch.running.any():
        s = batch.state
        y = s.logits[:, 2:].argmax(1) + 2                                    # never the end token
        for slot, row in enumerate(s.row.tolist()):
            if batch.running[slot]:
                logits, h = whole(lm, texts[row])
                assert alike(s.logits[slot], logits) and alike(s.h[slot], h)
                assert s.position[slot] == len(texts[row])
                texts[row].append(y[slot].item())
            else:                                       # the last token of a row is not read
                assert s.position[slot] == len(texts[row]) - 1
                empty += 1
        batch.advance(y, torch.zeros(len(y)).bool())
    assert empty and [len(text) for text in texts] == (budgets + 3).tolist()


@pytest.mark.assignment_3
@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
@pytest.mark.parametrize("shared", [0, 4])
def test_padded_prompts_are_the_lm_on_each_prompt_alone(name, shared):
    """And so is the token behind each, which sees the prompt's keys at their positions."""
    lm, start = small(name), [20, 21, 22, 23][:shared]
    prompts = [start + p for p in ([5, 6, 7], [8], [9, 10, 11, 12, 13, 14, 2], [3, 3])]
    (logits, cache, mask), h = lm.prefill(prompts, shared), lm.h
    assert mask.sum(1).tolist() == list(map(len, prompts)) and mask.shape == (4, 7 + shared)
    for i, prompt in enumerate(prompts):
        assert alike(logits[i], whole(lm, prompt)[0]) and alike(h[i], whole(lm, prompt)[1])
    logits = lm.forward(torch.full((4, 1), 30), torch.tensor([[len(p)] for p in prompts]),
                        torch.cat([mask, torch.ones(4, 1).bool()], 1), cache)
    for i, prompt in enumerate(prompts):
        assert alike(logits[i], whole(lm, prompt + [30])[0])


def test_the_example_of_three_rows_is_what_happens():
    """The one at the top of batch.py: 2, 3, 2 prompt tokens, 2, 4, 3 sampled ones, two slots."""
    batch = Batch(small("Llama"), [[5, 6], [7, 8, 9], [10, 11]], torch.tensor([2, 4, 3]),
                  lambda rows: torch.zeros(len(rows), 2, 5), 1, rows=2)
    seen, ended = [], []
    while batch.running.any():
        seen.append((batch.row.tolist(), batch.start.tolist(), batch.kv_cache.window.used))
        y = torch.full((len(batch.row),), 20)
        ended.append(batch.advance(y, torch.zeros(len(y)).bool()))
    assert seen == [([0, 1], [0, 0], 3), ([0, 1], [0, 0], 4), ([2, 1], [3, 0], 5),
                    ([2, 1], [3, 0], 6), ([2], [3], 7)]
    assert ended == [[], [(0, 2)], [], [(1, 4)], [(2, 3)]]

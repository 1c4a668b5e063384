"""Any causal LM with a KV cache: families by name, made small at random, each in a local folder."""
import json

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (BloomConfig, BloomForCausalLM, GPTJConfig, GPTJForCausalLM,
                          AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GemmaConfig,
                          GemmaForCausalLM, LlamaConfig, LlamaForCausalLM, MambaConfig,
                          MambaForCausalLM, MistralConfig, MistralForCausalLM,
                          PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3NextConfig,
                          Qwen3NextForCausalLM, SmolLM3Config, SmolLM3ForCausalLM)

import lm as module
from utils.errors import UserError
from decode import GREEDY, rollout, static
from lm import LM
from utils.memory import memory
from utils.prefixes import shared_prefixes
from utils.random_streams import prompt_key

CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
QWEN3 = CHATML.replace("assistant\n{%", "assistant\n{% if enable_thinking is defined and "
                       "enable_thinking is false %}<think></think>{% endif %}{%")
LLAMA3 = ("{{ bos_token }}{% for m in messages %}<|start|>{{ m.role }}<|end|>{{ m.content }}<|eot|>"
          "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|end|>{% endif %}")
GEMMA = ("{{ bos_token }}{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}<eot>\n"
         "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}")
SIZE = dict(vocab_size=140, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=256,
            initializer_range=0.5, bos_token_id=1, eos_token_id=2, pad_token_id=0)
WINDOW = dict(sliding_window=5)
FAMILIES = {
    "Qwen3": (Qwen3Config, Qwen3ForCausalLM, {}, QWEN3, ["<|im_start|>", "<|im_end|>"]),
    "Llama": (LlamaConfig, LlamaForCausalLM, {}, LLAMA3, ["<|start|>", "<|end|>", "<|eot|>"]),
    "Gemma": (GemmaConfig, GemmaForCausalLM, {}, GEMMA, ["<turn>", "<eot>"]),
    "SmolLM": (LlamaConfig, LlamaForCausalLM, {}, CHATML, ["<|im_start|>", "<|im_end|>"]),
    "SmolLM3": (SmolLM3Config, SmolLM3ForCausalLM, {}, CHATML, ["<|im_start|>", "<|im_end|>"]),
    "Gemma3, windows": (Gemma3TextConfig, Gemma3ForCausalLM, WINDOW | dict(
        layer_types=["sliding_attention", "full_attention"]), GEMMA, ["<turn>", "<eot>"]),
    "Mistral, windows": (MistralConfig, MistralForCausalLM, WINDOW, CHATML, ["<|im_start|>"]),
    "GPT-J, eager": (GPTJConfig, GPTJForCausalLM, dict(rotary_dim=4, num_key_value_heads=4), CHATML,
                     ["<|im_start|>"]),
    "Bloom, alibi": (BloomConfig, BloomForCausalLM, dict(num_key_value_heads=4), CHATML,
                     ["<|im_start|>"]),
}
PROMPTS = ["7+8?", "1+2+3+4+5+6+7?", "What is 12+13+14?", "9"]


def save(folder, config, model, extra, template, special, eos="</s>"):
    """A model and a character-level tokenizer as a hub has them."""
    torch.manual_seed(3)
    names = ["<pad>", "<s>", "</s>", *special]
    characters = [chr(i) for i in [10, *range(32, 127)]]
    vocabulary = {name: i for i, name in enumerate(names + characters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token=eos, pad_token="<pad>",
        additional_special_tokens=special, chat_template=template)
    fast.save_pretrained(folder)
    model = model(config(**SIZE | extra))
    model.generation_config.eos_token_id = [2, len(vocabulary) - 1]                  # "~" ends too
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save(folder, *FAMILIES[request.param])
    return LM.load(str(folder), device="cpu")


def greedy(lm, ids, n=1, **options):
    policy = static(torch.tensor(GREEDY).repeat(len(ids) * n, 1))
    keys = torch.tensor([prompt_key(str(x)) for x in ids])
    return rollout(lm, ids, policy, torch.full((len(ids) * n,), 24), keys, n, **options)


def encoded(lm, prompt, *how):
    lm.set_prompt_format(*how)
    ids = lm.encode(prompt)
    lm.set_prompt_format()
    return ids


def test_greedy_rows_equal_generate_in_chat_and_plain(family):
    ids = [encoded(family, p, chat) for p in PROMPTS for chat in (True, False)]
    family.model.generation_config.suppress_tokens = list(range(len(family.tokenizer), 140))
    for one, episode in zip(ids, greedy(family, ids)):
        theirs = family.model.generate(torch.tensor([one]), do_sample=False, max_new_tokens=24,
                                       pad_token_id=0)[0, len(one):]
        assert episode.tokens.tolist() == theirs.tolist()


def test_rows_do_not_depend_on_the_batch_nor_on_a_shared_prefix(family):
    shots = "Question: 1+1\nAnswer: 2\n\n"
    ids = [family.encode(shots + p) for p in PROMPTS]
    assert shared_prefixes(ids)[1] == [len(family.encode(shots))] * len(PROMPTS)
    together = greedy(family, ids, n=2)
    for i, one in enumerate(ids):
        assert torch.equal(greedy(family, [one])[0].tokens, together[2 * i].tokens)
    for a, b in zip(together, greedy(family, ids, n=2, rows=3)):
        assert torch.equal(a.tokens, b.tokens) and torch.allclose(a.e, b.e, atol=1e-4)


def test_a_chat_template_is_applied_once_to_ids(family):
    text = family.tokenizer.decode(encoded(family, "7+8?", True))
    template = family.tokenizer.chat_template
    assert text.count("7+8?") == 1 and text.count("<s>") == template.count("bos_token")
    assert text.rstrip("\n").endswith(("assistant", "model", "<end>", "<|end|>", "<think></think>"))
    assert family.encode("7+8?")[-4:] == family.tokenizer("7+8?").input_ids[-4:]


def test_no_gradient_reaches_the_lm(family):
    policy_input = family.forward(torch.tensor([[5, 6, 7]]), torch.arange(3)[None], None, None)
    assert not policy_input.requires_grad and not family.h.requires_grad
    assert all(not p.requires_grad and p.grad is None for p in family.model.parameters())


def test_the_head_gets_one_contiguous_position_a_row(family):
    """In bf16 on a CPU a head whose input is a slice of all positions takes three times as long."""
    seen = []
    head = family.model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    family.prefill([family.encode("7+8:"), family.encode("12+3+4:")])
    hook.remove()
    assert seen[0].is_contiguous() and seen[0].shape == (2, 1, family.d)


def test_every_end_token_ends_a_row_and_padded_rows_of_the_head_are_no_tokens(family):
    ends = {2, len(family.tokenizer) - 1}
    assert set(family.ends.tolist()) == ends and len(family.tokenizer) < 140
    hot = static(torch.tensor([6.0, 0, 1, 0]).repeat(400, 1))
    episodes = rollout(family, [family.encode("7+8?")], hot, torch.full((400,), 8),
                       torch.tensor([1]), 400)
    last = {x.tokens[-1].item() for x in episodes if not x.truncated}
    assert last == ends and max(int(x.tokens.max()) for x in episodes) < len(family.tokenizer)
    assert all(not set(x.tokens[:-1].tolist()) & ends for x in episodes)


def test_a_tokenizer_without_a_template_gets_a_plain_prompt(tmp_path):
    lm = LM.load(save(tmp_path, *FAMILIES["Llama"][:3], None, []), device="cpu")
    assert encoded(lm, "7+8?", True) == lm.encode("7+8?")


def test_the_tokenizers_end_counts_beside_the_configs_list(tmp_path):
    lm = LM.load(save(tmp_path, *FAMILIES["SmolLM"], eos="<|im_end|>"), device="cpu")
    assert {lm.tokenizer.decode([i]) for i in lm.ends.tolist()} == {"</s>", "<|im_end|>", "~"}


def test_thinking_is_for_templates_that_know_it(tmp_path):
    lm = LM.load(save(tmp_path, *FAMILIES["Qwen3"]), device="cpu")
    on, off = (lm.tokenizer.decode(encoded(lm, "7", True, thinking)) for thinking in (True, False))
    assert off.endswith("<think></think>") and "<think>" not in on
    lm.tokenizer.chat_template = CHATML
    with pytest.raises(UserError, match="--thinking"):
        lm.set_prompt_format(True, True)


def test_a_stop_ends_a_row_at_every_token_with_that_text_until_asked_otherwise(tmp_path):
    lm = LM.load(save(tmp_path, *FAMILIES["Llama"]), device="cpu")
    before = set(lm.ends.tolist())
    lm.set_prompt_format(stop="\n")
    assert set(lm.ends.tolist()) - before == {lm.encode("\n")[0]}
    lm.set_prompt_format()
    assert set(lm.ends.tolist()) == before


@pytest.mark.parametrize("config, model", [
    (MambaConfig(vocab_size=140, hidden_size=16, num_hidden_layers=1, state_size=4),
     MambaForCausalLM),
    (Qwen3NextConfig(**SIZE | dict(num_hidden_layers=4), num_experts=2, num_experts_per_tok=1,
                     moe_intermediate_size=8, shared_expert_intermediate_size=8,
                     linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8,
                     linear_value_head_dim=8), Qwen3NextForCausalLM)])
def test_other_caches_are_refused_by_name(config, model, lm):
    with pytest.raises(UserError, match=model.__name__):
        LM(model(config), lm.tokenizer, "odd")
    with pytest.raises(UserError, match=model.__name__):                  # before it is loaded
        memory(config, "float32")


def test_a_text_longer_than_the_lm_reads_is_refused(family):
    with pytest.raises(UserError, match="reads 256"):
        family.require(1, 257)


def test_memory_is_the_bytes_of_weights_and_cache(family):
    need = memory(family.model.config, "float32", rows=3, tokens=7)
    assert need.weights == sum(p.numel() for p in family.model.parameters()) * 4
    _, cache, _ = family.prefill([list(range(5, 12))] * 3)
    kept = sum(x.keys.nbytes + x.values.nbytes for x in cache.layers)
    assert need.cache == kept and memory(family.model.config, "bfloat16", 3, 7).cache * 2 == kept


def test_what_cannot_fit_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    folder = save(tmp_path, *FAMILIES["Llama"])
    lm = LM.load(folder, device="cpu")
    monkeypatch.setattr(module, "free_memory", lambda device: 10_000)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    with pytest.raises(UserError, match="needs .* GiB"):
        LM.load(folder, device="cpu")
    one = memory(lm.model.config, "float32", 1, 10)
    monkeypatch.setattr(module, "free_memory", lambda device: 5 * (one.cache + one.logits))
    monkeypatch.setattr(module, "cache_length", lambda texts: texts)
    assert "GiB" in lm.require(5, 10)
    with pytest.raises(UserError, match="lower --rows to 5"):
        lm.require(6, 10)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_the_dtype_follows_the_device_and_on_a_cpu_the_weights(has_bf16, monkeypatch):
    assert module.pick_device_and_dtype("cpu", "auto") == ("cpu", "float32")
    assert module.pick_device_and_dtype("cuda", "auto") == ("cuda", "bfloat16")
    assert module.pick_device_and_dtype("cuda", "float32") == ("cuda", "float32")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    stored = "bfloat16" if has_bf16 else "float32"
    assert module.pick_device_and_dtype("cpu", "auto", "bfloat16") == ("cpu", stored)
    assert module.pick_device_and_dtype("cpu", "auto", "float32") == ("cpu", "float32")
    assert module.pick_device_and_dtype("cpu", "float32", "bfloat16") == ("cpu", "float32")
    with pytest.raises(UserError, match="--dtype"):
        module.pick_device_and_dtype("cpu", "int3")


def test_a_config_without_weights_gets_one_line(tmp_path):
    folder = save(tmp_path, *FAMILIES["Llama"])
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot load the model"):
        LM.load(folder, device="cpu")
    (tmp_path / "model.safetensors").write_bytes(b"half a download")
    with pytest.raises(UserError, match="cannot load the model"):
        LM.load(folder, device="cpu")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(UserError, match="no causal LM"):
        LM.load(folder, device="cpu")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "abacus"}))
    with pytest.raises(UserError, match="cannot load the model"):
        LM.load(folder, device="cpu")

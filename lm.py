"""The frozen language model: loading, ids and text, one forward pass, a cache written in place.

    lm = LM.load("tiny")                        # a local folder, or a hub id: one and the same path
    logits, cache, mask = lm.prefill([lm.encode("7+8+5+9:")]);   lm.h                       # (N, d)

h is the input of the output head: the last layer's hidden state, from the same pass as the logits.

| symbol | meaning | shape |
|---|---|---|
| N, R | prompts, rows | |
| V, d | vocabulary (its head may be padded), hidden size | |
| P | length of the padded prompts | |
"""
import hashlib

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging

from cli import UserError


class LM:
    """A frozen causal LM, its tokenizer, and the two things generation hides: h and the end ids."""

    def __init__(self, model, tokenizer, name: str = "memory"):
        self.model, self.tokenizer, self.name = model.eval().requires_grad_(False), tokenizer, name
        self.device, self.d = model.device, model.config.get_text_config().hidden_size
        kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise UserError(f"{name}: attention layers {sorted(kinds)}: only full attention works")
        ends = model.generation_config.eos_token_id or tokenizer.eos_token_id
        if ends is None:
            raise UserError(f"{name} names no end token")
        self.ends = torch.tensor(ends, device=self.device).reshape(-1)
        # The input of the output head is h_t, in every architecture and with no other layer kept.
        model.get_output_embeddings().register_forward_pre_hook(self._keep)

    def _keep(self, _module, inputs):
        self.h = inputs[0][:, -1].float()                                            # (R, d)

    @classmethod
    def load(cls, name: str, device: str = "auto", dtype: str = "auto") -> "LM":
        """From a hub id or a local folder; fp32 on a CPU and bf16 on a GPU unless told."""
        if device == "auto":
            device = ("cuda" if torch.cuda.is_available() else
                      "mps" if torch.backends.mps.is_available() else "cpu")
        if dtype == "auto":
            dtype = "bfloat16" if device == "cuda" else "float32"
        if dtype not in ("float32", "bfloat16", "float16"):
            raise UserError(f"--dtype takes auto, float32, bfloat16 or float16, not {dtype!r}")
        logging.disable_progress_bar()                     # its lines would hide ours
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype))
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load the model {name!r}: {str(error).strip().splitlines()[0]}")
        try:
            return cls(model.to(device), tokenizer, name)
        except (AssertionError, RuntimeError) as error:      # torch without CUDA asserts
            raise UserError(f"cannot use the device {device!r}: {str(error).splitlines()[0]}")

    def hash(self) -> str:
        """Names the LM, in fp32 as in bf16: 256 values of every tensor; 4 B cost a second."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            flat = value.flatten()
            some = flat[:: max(1, flat.numel() // 256)].bfloat16().float().cpu().numpy()
            digest.update(f"{name} {tuple(value.shape)}".encode() + some.tobytes())
        return digest.hexdigest()[:16]

    def encode(self, prompt: str, chat: bool = False) -> list[int]:
        """Ids of a prompt. A chat template brings its own special tokens: once, to ids.

        Raises UserError for characters that the tokenizer does not know.
        """
        if chat and self.tokenizer.chat_template:
            message = [{"role": "user", "content": prompt}]
            return self.tokenizer.apply_chat_template(
                message, add_generation_prompt=True, return_dict=False)
        ids = self.tokenizer(prompt).input_ids
        if self.tokenizer.unk_token_id in ids:
            raise UserError(f"{self.name} does not know every character of {prompt!r}")
        return ids

    def text(self, tokens: Tensor) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    def forward(self, ids: Tensor, positions: Tensor, mask, cache) -> Tensor:
        """Logits (R, V) after the last of ids (R, L); h (R, d) is left in self.h."""
        logits = self.model(input_ids=ids, position_ids=positions, attention_mask=mask,
                            past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        logits[:, len(self.tokenizer):] = -torch.inf       # rows of a padded head are no tokens
        return logits

    def prefill(self, prompts: list[list[int]]):
        """Logits (N, V), cache and mask (N, P) after prompts padded on the left to P."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts], device=self.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts],
                            device=self.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)     # counted over real tokens only
        cache = DynamicCache(config=self.model.config)
        return self.forward(ids, positions, mask, cache), cache, mask


class Slots(DynamicLayer):
    """One layer's keys and values, (R, heads, capacity, head size), written in place."""

    def __init__(self, layer, rows: Tensor, capacity: int):
        """Copies the `layer` of N prompts to R rows; rows (R,): the prompt of each."""
        super().__init__()
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True
        self.used = layer.get_seq_length()
        self.store = [old.new_empty(len(rows), old.shape[1], capacity, old.shape[3])
                      for old in (layer.keys, layer.values)]
        self._view()
        self.keys.copy_(layer.keys[rows])
        self.values.copy_(layer.values[rows])

    def _view(self):
        self.keys, self.values = (x[:, :, :self.used] for x in self.store)

    def update(self, keys, values, *args, **kwargs):
        self.used += 1
        self._view()
        self.keys[:, :, -1:], self.values[:, :, -1:] = keys, values
        return self.keys, self.values

"""The frozen language model: loading, ids and text, one forward pass, what memory it takes.

    lm = LM.load("tiny")                        # a local folder, or a hub id: one and the same path
    logits, cache, mask = lm.prefill([lm.encode("7+8+5+9:")]);   lm.h                       # (N, d)
    python -m demos.memory MODEL --rows 64 --tokens 1024       # what it needs of memory; nothing is loaded

h is the input of the output head: the last layer's hidden state, from the same pass as the logits.
Any `AutoModelForCausalLM` works whose layers keep keys and values, sliding windows included; others
(recurrent states, compressed caches) are refused by name.

| symbol | meaning | shape |
|---|---|---|
| N, R | prompts, rows | |
| V, d | vocabulary (its head may be padded), hidden size | |
| P | length of the padded prompts | |
"""
import hashlib
import os
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache,
                          PretrainedConfig, PreTrainedModel)
from transformers.utils import logging

from utils.errors import UserError
from utils.hub import from_hub, title
from utils.memory import free_memory, memory, refuse
from utils.profiling import clock

DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("cpu", "cuda", "mps")
TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights", "tiny")    # the embedded LM


def pick(device: str, dtype: str) -> tuple[str, str]:
    """Device and dtype where "auto" leaves them open: fp32 on a CPU, bf16 on a GPU.

    Raises UserError for a name that is neither; `LM.load` for a device that is not there.
    """
    if device in ("auto", "cuda") and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"                  # torchrun: a GPU a process
    if device == "auto":
        device = ("cuda" if torch.cuda.is_available() else
                  "mps" if torch.backends.mps.is_available() else "cpu")
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    if dtype not in DTYPES:
        raise UserError(f"--dtype takes auto, {', '.join(DTYPES)}, not {dtype!r}")
    if device.split(":")[0] not in DEVICES:
        raise UserError(f"--device takes auto, {', '.join(DEVICES)}, not {device!r}")
    return device, dtype


# ---- the language model -------------------------------------------------------------------------
class LM:
    """A frozen causal LM, its tokenizer, and the two things generation hides: h and the end ids."""

    def __init__(self, model: PreTrainedModel, tokenizer: Any, name: str = "memory"):
        self.model, self.tokenizer, self.name = model.eval().requires_grad_(False), tokenizer, name
        self.device, self.d = model.device, model.config.get_text_config().hidden_size
        self.vocabulary = len(tokenizer)                   # the head may be padded beyond it
        self.dtype = str(model.dtype).removeprefix("torch.")                       # as in DTYPES
        # Attention by distance in columns, or another than sdpa, makes its own mask out of (R, L).
        self.by_column = (refuse(model, name) or model.config._attn_implementation != "sdpa"
                          or bool(getattr(model.config, "alibi", False)))
        # Tokens, and their keys and values, for `prefill`.
        self.prefix: tuple[list[int], DynamicCache] = [], DynamicCache()
        self.kv_cache: Any = None                # of batch.py: kept, since its memory is slow to get
        ends = model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
        if ends == {None}:
            raise UserError(f"{name} names no end token")
        # The config's list and the tokenizer's: a chat may end in one that only the latter names.
        self.ends = self.own_ends = torch.tensor(sorted(ends - {None}), device=self.device)
        self.ask()
        # The input of the output head is h_t, in every architecture and with no other layer kept.
        model.get_output_embeddings().register_forward_pre_hook(self._keep)

    def _keep(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.h = inputs[0][:, -1]              # (R, d) in the LM's dtype: what is kept is no larger

    @classmethod
    def load(cls, name: str, device: str = "auto", dtype: str = "auto") -> "LM":
        """From a hub id, a local folder, or "tiny"; fp32 on a CPU and bf16 on a GPU unless told."""
        device, dtype = pick(device, dtype)
        folder = place(name)
        logging.disable_progress_bar()                     # its lines would hide ours
        need = memory(model_config(folder), dtype)
        try:
            free = free_memory(device)
            torch.empty(0, device=device)
            if device.startswith("cuda"):
                torch.cuda.set_device(torch.device(device).index or 0)  # for what names no device
        except (AssertionError, RuntimeError) as error:      # torch without CUDA asserts
            raise UserError(f"cannot use the device {device!r}: {str(error).splitlines()[0]}")
        if need.total > free:
            raise UserError(f"{name} needs {need}, and {device} has {free / 2**30:.1f} GiB free")
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        except Exception as error:                       # safetensors and others raise their own
            raise UserError(f"cannot load the model {name!r}: {str(error).strip().splitlines()[0]}")
        return cls(model.to(device), tokenizer, title(name))

    def require(self, rows: int, tokens: int) -> str:
        """What `rows` texts of `tokens` tokens need, as a line. Raises UserError if too much."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", tokens)
        if tokens > most:
            raise UserError(f"the longest prompt and its text have {tokens} tokens, {self.name} "
                            f"reads {most}: fewer --shots, or a smaller budget")
        need = memory(self.model.config, self.dtype, rows, cache_length(tokens))
        free = free_memory(str(self.device)) + need.weights                   # they are in already
        line = (f"{rows} rows of {tokens} tokens need {need}; {self.device} has "
                f"{free / 2**30:.1f} GiB for it")
        if need.total > free:
            fit = int((free - need.weights) / ((need.cache + need.logits) / rows))
            raise UserError(f"{line}: " + (f"lower --rows to {fit}" if fit else "too long a text"))
        return line

    def hash(self) -> str:
        """Names the LM, in fp32 as in bf16: 256 values of every tensor; 4 B cost a second."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            flat = value.flatten()
            some = flat[:: max(1, flat.numel() // 256)].bfloat16().float().cpu().numpy()
            digest.update(f"{name} {tuple(value.shape)}".encode() + some.tobytes())
        return digest.hexdigest()[:16]

    def ask(self, chat: bool = False, thinking: bool = False, stop: str | None = None) -> None:
        """How a prompt is put and what ends its answer, from now on.

        chat: in the chat template; a tokenizer without one gets the plain prompt. thinking: for
        templates that know `enable_thinking` (Qwen3), UserError for others. stop: every token that
        holds this text, such as a line's end, ends a row as well.
        """
        chat = chat and bool(self.tokenizer.chat_template)
        if thinking and not (chat and "enable_thinking" in self.tokenizer.chat_template):
            raise UserError(f"{self.name} has no chat template that knows --thinking")
        self.asked, self.ends = {"chat": chat, "thinking": thinking, "stop": stop}, self.own_ends
        if stop:
            tokens = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
            more = [i for i, token in enumerate(tokens) if stop in token]
            self.ends = torch.tensor(sorted({*self.ends.tolist(), *more}), device=self.device)

    def encode(self, prompt: str) -> list[int]:
        """Ids of a prompt, put as `ask` says. A chat template brings its own special tokens: once,
        to ids. Raises UserError for characters that the tokenizer does not know."""
        if self.asked["chat"]:
            message = [{"role": "user", "content": prompt}]
            return self.tokenizer.apply_chat_template(
                message, add_generation_prompt=True, return_dict=False,
                enable_thinking=self.asked["thinking"])
        ids = self.tokenizer(prompt).input_ids
        unknown, known = self.tokenizer.unk_token_id, (self.tokenizer.bos_token_id,
                                                       self.tokenizer.eos_token_id)
        if unknown in ids and unknown not in known:        # OPT: one token for all three
            raise UserError(f"{self.name} does not know every character of {prompt[:60]!r}")
        return ids

    def text(self, tokens: Tensor | list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None,
                cache: DynamicCache) -> Tensor:
        """Logits (R, V) after the last of ids (R, L); h (R, d) is left in self.h.

        mask (R, all tokens so far) bool, or None where there is no padding.
        """
        if ids.shape[1] == 1 and not self.by_column and mask is not None:
            mask = mask[:, None, None]                  # as sdpa wants it: not made anew each step
        with clock("LM forward"):
            logits = self.model(
                input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache,
                use_cache=True, logits_to_keep=1).logits[:, -1]
        logits[:, self.vocabulary:] = -torch.inf           # rows of a padded head are no tokens
        return logits

    def prefill(self, prompts: list[list[int]],
                shared: int = 0) -> tuple[Tensor, DynamicCache, Tensor]:
        """Logits (N, V), cache and mask (N, P) after prompts padded on the left to P.

        shared: how many first tokens all prompts have in common; computed once, and kept for the
        next call. 0 where attention goes by columns: the gap behind them would count as text.
        """
        start, cache = prompts[0][:shared], DynamicCache()
        if start and self.prefix[0] != start:
            self.prefix = start, DynamicCache()
            self.forward(torch.tensor([start], device=self.device),
                         torch.arange(shared, device=self.device)[None], None, self.prefix[1])
        for i, (keys, values) in enumerate(tensors(self.prefix[1]) if start else ()):
            cache.update(keys.expand(len(prompts), -1, -1, -1),
                         values.expand(len(prompts), -1, -1, -1), i)
        # assignment 3
        gaps = [max(map(len, prompts)) - len(p) for p in prompts]     # between prefix and the rest
        ids = torch.tensor([[0] * g + p[shared:] for p, g in zip(prompts, gaps)],
                           device=self.device)
        mask = torch.tensor([[True] * shared + [False] * g + [True] * (len(p) - shared)
                             for p, g in zip(prompts, gaps)], device=self.device)        # (N, P)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)     # counted over real tokens only
        return self.forward(ids, positions[:, shared:], mask, cache), cache, mask


def tensors(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer: `refuse` lets no layer in that keeps anything else."""
    layers: list[Any] = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def place(name: str) -> str:
    """Where the weights are: "tiny" is the embedded LM, wherever one stands."""
    return TINY if name == "tiny" else name


def model_config(name: str) -> PretrainedConfig:
    if not os.path.isdir(name):
        from_hub(name, "model", ["config.json"])
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot load the model {name!r}: {str(error).strip().splitlines()[0]}")


def cache_length(texts: int) -> int:
    """Columns that texts of so many tokens need in batch.py, where they take turns."""
    return texts + texts // 4

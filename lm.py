"""The frozen language model: loading, ids and text, one forward pass, what memory it takes.

    lm = LM.load("tiny")                        # a local folder and a hub id work the same way
    logits, cache, mask = lm.prefill([lm.encode("7+8+5+9:")]);   lm.h                       # (N, d)
    python -m demos.memory MODEL --rows 64 --tokens 1024         # the memory it needs, not loaded

h is the input of the output head: the last layer's hidden state, from the same pass as the logits.
Any `AutoModelForCausalLM` works whose layers keep keys and values, sliding windows included; others
(recurrent states, compressed caches) are refused by name.

Shapes: N prompts, padded to P tokens; R rows; V vocabulary (its head may be padded); d hidden size.
"""
import copy
import hashlib
import os
from typing import Any, Sequence

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel
from transformers.utils import logging

from utils.errors import UserError
from utils.hub import model_config, public_name
from utils.kv_cache import KVCache, cache_length
from utils.memory import check_architecture, free_memory, memory
from utils.options import check_device_and_dtype
from utils.profiling import clock
from utils.reasoning import EVERY_TAG, after_reasoning, last_end, opens_reasoning

CONTEXT = 32           # of a prompt's last tokens (ours: enough to spell a tag letter by letter)
TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights", "tiny")


def pick_device_and_dtype(device: str, dtype: str, stored: str = "float32") -> tuple[str, str]:
    """Replaces "auto": the GPU where there is one; bf16 on CUDA, fp32 elsewhere. Raises UserError
    for an unknown name; for a device that is not there, `LM.load` does.

    On a CPU with instructions for bf16, weights that are stored in bf16 stay so: 3 times as fast.
    """
    check_device_and_dtype(device, dtype)
    has_cuda = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if has_cuda else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cuda" and has_cuda and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"             # torchrun: one GPU for each process
    if dtype == "auto":
        on_cpu = device == "cpu" and stored == "bfloat16" and cpu_has_bf16()
        dtype = "bfloat16" if on_cpu or device.startswith("cuda") else "float32"
    return device, dtype


def cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


# ---- the language model -------------------------------------------------------------------------
class LM:
    """A frozen causal LM and its tokenizer, with what `generate` hides: h and the end tokens."""

    def __init__(self, model: PreTrainedModel, tokenizer: Any, name: str = "memory"):
        check_architecture(model, name)
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.device = model.device
        self.dtype = str(model.dtype).removeprefix("torch.")                       # as in DTYPES
        # What the head reads: OPT-350m's is narrower than the hidden size.
        self.d = model.get_output_embeddings().weight.shape[1]

        # The ids of all tokens. There may be gaps between them, and the head may be padded beyond.
        # (A tokenizer that cannot list its tokens has the ids 0, 1 .. without gaps.)
        names = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
        self.token_ids = sorted(names.values()) or list(range(len(tokenizer)))
        self.vocabulary = self.token_ids[-1] + 1

        # A tag of the reasoning that is a token is looked for by its id, others in the text.
        self.tag_of_id = {i: name.lower() for name, i in names.items() if name.lower() in EVERY_TAG}
        self.spelled_tags = EVERY_TAG - set(self.tag_of_id.values())

        # May a prompt have a gap in the middle (see `prefill`)? Not if the attention measures
        # distance in columns, as sliding windows and ALiBi do; and only sdpa takes our mask.
        sliding = any(layer.is_sliding for layer in DynamicCache(config=model.config).layers)
        alibi = getattr(model.config, "alibi", False)
        sdpa = model.config._attn_implementation == "sdpa"
        self.skips_gaps = sdpa and not sliding and not alibi

        # The shared beginning that the last prefill read, with its keys and values, and the
        # KVCache of the last rollout (batch.py), which is slow to allocate.
        self.prefix: list[int] = []
        self.prefix_kv = DynamicCache()
        self.kv_cache: KVCache | None = None

        # The config's end tokens and the tokenizer's: the latter alone may name that of a chat.
        ends = model.generation_config.eos_token_id
        ends = {*ends} if isinstance(ends, list) else {ends}
        ends = (ends | {tokenizer.eos_token_id}) - {None}
        if not ends:
            raise UserError(f"{name} names no end token")
        self.model_ends = torch.tensor(sorted(ends), device=self.device)
        self.set_prompt_format()

        # The input of the output head is h_t, in every architecture.
        model.get_output_embeddings().register_forward_pre_hook(self._keep_h)

    def _keep_h(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        # A slice of all positions is not contiguous: in bf16 on a CPU, its product with the head
        # copies the head's weights once for each row
        last = inputs[0].contiguous()                # (R, 1, d)
        self.h = last[:, -1]                         # (R, d), in the LM's dtype: no larger to store
        return (last,)

    @classmethod
    def load(cls, name: str, device: str = "auto", dtype: str = "auto") -> "LM":
        """From a hub id, a local folder, or "tiny"; dtype as `pick_device_and_dtype` says."""
        folder = model_folder(name)
        config = model_config(folder)
        stored = str(config.dtype).removeprefix("torch.")
        device, dtype = pick_device_and_dtype(device, dtype, stored)
        logging.disable_progress_bar()                     # its lines would hide ours

        # The device and its memory, before any weights are read.
        need = memory(config, dtype)
        try:
            free = free_memory(device)
            torch.empty(0, device=device)
            if device.startswith("cuda"):
                torch.cuda.set_device(torch.device(device).index or 0)  # where code names none
        except (AssertionError, RuntimeError) as error:      # torch without CUDA asserts
            raise UserError(f"cannot use the device {device!r}: {str(error).splitlines()[0]}")
        if need.total > free:
            raise UserError(f"{name} needs {need}, and {device} has {free / 2**30:.1f} GiB free")

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        except Exception as error:                       # safetensors and others raise their own
            raise UserError(f"cannot load the model {name!r}: {str(error).strip().splitlines()[0]}")
        return cls(model.to(device), tokenizer, public_name(name))

    def require(self, rows: int, tokens: int) -> str:
        """One line on the memory that `rows` rows of `tokens` tokens (with the prompt) need.

        Raises UserError if there is too little memory, or if the LM cannot read so many tokens.
        """
        config = self.model.config
        limit = getattr(config.get_text_config(), "max_position_embeddings", tokens)
        if tokens > limit:
            raise UserError(f"the longest prompt and its completion have {tokens} tokens, "
                            f"{self.name} reads {limit}: fewer --shots, or a smaller budget")
        need = memory(config, self.dtype, rows, cache_length(tokens))
        available = free_memory(str(self.device)) + need.weights           # they are loaded already
        line = (f"{rows} rows of {tokens} tokens need {need}; {self.device} has "
                f"{available / 2**30:.1f} GiB for it")
        if need.total > available:
            bytes_per_row = (need.cache + need.logits) / rows
            fit = int((available - need.weights) / bytes_per_row)
            advice = f"lower --rows to {fit}" if fit else "even one row is too long"
            raise UserError(f"{line}: {advice}")
        return line

    def hash(self) -> str:
        """Names the LM by 256 values of every tensor, the same in fp32 and bf16 (4 B: a second)."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            flat = value.flatten()
            stride = max(1, flat.numel() // 256)
            some = flat[::stride].bfloat16().float().cpu().numpy()
            digest.update(f"{name} {tuple(value.shape)}".encode() + some.tobytes())
        return digest.hexdigest()[:16]

    # ---- text to ids and back ----
    def set_prompt_format(self, chat: bool = False, thinking: bool = False,
                          stop: str | None = None) -> None:
        """Sets how `encode` writes a prompt and what ends a completion, from now on.

        chat: use the chat template; a tokenizer without one gets the plain prompt. thinking: for
        templates that know `enable_thinking` (Qwen3), UserError for others. stop: every token that
        contains this string, such as a line's end, ends a row as well.
        """
        template = self.tokenizer.chat_template if chat else None
        chat = bool(template)
        if thinking and "enable_thinking" not in (template or ""):
            raise UserError(f"{self.name} has no chat template that knows --thinking")
        self.prompt_format = {"chat": chat, "thinking": thinking, "stop": stop}

        self.ends = self.model_ends
        if stop:
            tokens = self.tokenizer.batch_decode([[i] for i in self.token_ids])
            stops = [i for i, token in zip(self.token_ids, tokens) if stop in token]
            ends = {*self.model_ends.tolist(), *stops}
            self.ends = torch.tensor(sorted(ends), device=self.device)

    def encode(self, prompt: str) -> list[int]:
        """Ids of a prompt in the format of `set_prompt_format`.

        Raises UserError for characters that the tokenizer does not know.
        """
        tokenizer = self.tokenizer
        if self.prompt_format["chat"]:
            # The template brings its own special tokens, so go to ids at once.
            message = [{"role": "user", "content": prompt}]
            return tokenizer.apply_chat_template(
                message, add_generation_prompt=True, return_dict=False,
                enable_thinking=self.prompt_format["thinking"])
        ids = tokenizer(prompt).input_ids
        # Some tokenizers (OPT) use one token for "unknown" and for the beginning or the end.
        is_special = tokenizer.unk_token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id)
        if tokenizer.unk_token_id in ids and not is_special:
            raise UserError(f"{self.name} does not know every character of {prompt[:60]!r}")
        return ids

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def text(self, tokens: Tensor | list[int], prompt: Sequence[int] = ()) -> str:
        """What the tokens of a completion add to the text of its prompt's ids.

        They are decoded behind the prompt's last tokens: alone, SentencePiece (Llama 2, Mistral)
        drops the space before the first of them, and a program's first line loses its place.
        """
        before = list(prompt[-CONTEXT:])
        known = self.decode(before)
        if "\N{REPLACEMENT CHARACTER}" in known:              # these begin within a character
            before = list(prompt)
            known = self.decode(before)
        return self.decode(before + [int(i) for i in tokens])[len(known):]

    def answer_text(self, tokens: list[int], prompt: list[int]) -> str:
        """The text that is graded: what follows the reasoning, "" while that has not ended.

        Tags that are tokens count as tokens alone: the text does not show them, or was only quoting
        them. The chat templates of R1 and QwQ open the reasoning in the prompt.
        """
        opened = opens_reasoning(self.tokenizer.decode(prompt[-CONTEXT:]))
        found = [(self.tag_of_id[y], t + 1) for t, y in enumerate(tokens) if y in self.tag_of_id]
        opened, end = last_end(found, opened)
        text = self.text(tokens[end:], prompt + tokens[:end])
        return after_reasoning(text, opened, self.spelled_tags)

    # ---- ids to logits ----
    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None,
                cache: DynamicCache) -> Tensor:
        """Logits (R, V) after the last of ids (R, L); h (R, d) is left in self.h.

        mask (R, all tokens so far) bool, or None where there is no padding.
        """
        if ids.shape[1] == 1 and mask is not None and self.skips_gaps:
            mask = mask[:, None, None]           # sdpa's own shape: transformers builds no new mask
        with clock("LM forward"):
            output = self.model(input_ids=ids, position_ids=positions, attention_mask=mask,
                                past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits = output.logits[:, -1]
        logits[:, self.vocabulary:] = -torch.inf           # rows of a padded head are no tokens
        return logits

    def prefill(self, prompts: list[list[int]],
                shared: int = 0) -> tuple[Tensor, DynamicCache, Tensor]:
        """Logits (N, V), cache and mask (N, P) after prompts padded on the left to P tokens.

        shared: how many first tokens all prompts have in common. They are read once and kept for
        the next call; the padding then stands behind them, as a gap that the mask hides:

            shared = 0    . . a b c d e         shared = 3    a b c . . d e
                          a b c x y z u                       a b c x y z u

        shared must be 0 unless self.skips_gaps.
        """
        cache = self._prefix_cache(prompts[0][:shared])
        cache.batch_repeat_interleave(len(prompts))
        # assignment 3
        # Pad before the tokens that are not shared, so that all prompts end in the last column.
        P = max(map(len, prompts))
        ids = torch.zeros(len(prompts), P - shared, dtype=torch.long)              # (N, P - shared)
        mask = torch.zeros(len(prompts), P, dtype=torch.bool)                               # (N, P)
        mask[:, :shared] = True
        for i, prompt in enumerate(prompts):
            gap = P - len(prompt)
            ids[i, gap:] = torch.tensor(prompt[shared:])
            mask[i, shared + gap:] = True
        ids = ids.to(self.device)
        mask = mask.to(self.device)
        # Positions count tokens, not columns; padding gets any valid one.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)                                      # (N, P)
        return self.forward(ids, positions[:, shared:], mask, cache), cache, mask

    def _prefix_cache(self, prefix: list[int]) -> DynamicCache:
        """Keys and values of a prefix, (1, heads, its length, size), which `prefill` may change."""
        if not prefix:
            return DynamicCache()
        # Successive calls often have the same prefix. Then the LM need not read it again.
        if prefix != self.prefix:
            self.prefix = prefix
            self.prefix_kv = DynamicCache()
            ids = torch.tensor([prefix], device=self.device)
            positions = torch.arange(len(prefix), device=self.device)
            self.forward(ids, positions[None], None, self.prefix_kv)
        return copy.deepcopy(self.prefix_kv)


def model_folder(name: str) -> str:
    """The folder of the small LM for "tiny"; other names stay as they are."""
    return TINY if name == "tiny" else name

"""How much memory a language model needs, before it is allocated."""
import ctypes
import os
import struct
import sys
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, DynamicCache, PretrainedConfig, PreTrainedModel

from utils.errors import UserError


@dataclass
class Memory:
    """Bytes: the weights, and for R rows their keys and values and the sampler's logits."""
    weights: int
    cache: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.logits

    def __str__(self) -> str:
        parts = [f"{name} {size / 2**30:.1f}" for name, size in vars(self).items()]
        return f"{self.total / 2**30:.1f} GiB ({', '.join(parts)})"


def memory(config: PretrainedConfig, dtype: str, rows: int = 0, tokens: int = 0) -> Memory:
    """Computed from an LM's `config` for `rows` rows of `tokens` tokens, the prompt included.

        weights  parameters x bytes     cache  2 x layers x KV heads x head size x rows x tokens
        logits   rows x V in fp32, ten times: the sampler with its sort, and the features (ours)
    """
    try:
        with torch.device("meta"):                               # shapes alone, no memory
            model = AutoModelForCausalLM.from_config(config)
    except ValueError as error:
        raise UserError(f"{config.name_or_path} is no causal LM: {str(error).splitlines()[0]}")
    check_architecture(model, str(config.name_or_path))
    config = config.get_text_config()
    size = getattr(torch, dtype).itemsize
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * heads * head * size
    return Memory(weights=model.num_parameters() * size, cache=per_token * rows * tokens,
                  logits=10 * 4 * config.vocab_size * rows)


def free_memory(device: str) -> int:
    """Bytes that are free on the device now; all of its memory where a system does not tell."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    if sys.platform == "win32":                      # MEMORYSTATUSEX: its size, .., total, free
        status = ctypes.create_string_buffer(struct.pack("2I7Q", 64, *[0] * 8), 64)
        ctypes.windll.kernel32.GlobalMemoryStatusEx(status)
        return struct.unpack("2I7Q", status)[3]
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            line = next(x for x in file if x.startswith("MemAvailable"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration):                 # macOS
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_architecture(model: PreTrainedModel, name: str) -> None:
    """Raises UserError for an LM that keeps anything but the keys and values of its tokens."""
    kinds = {type(layer).__name__ for layer in DynamicCache(config=model.config).layers}
    others = kinds - {"DynamicLayer", "DynamicSlidingWindowLayer"}
    stateful = getattr(model, "_is_stateful", False)
    if others or stateful or model.get_output_embeddings() is None:
        what = ", ".join(sorted(others)) or "states"
        raise UserError(f"{name}, a {type(model).__name__}, keeps {what}: only attention over keys "
                        "and values works")

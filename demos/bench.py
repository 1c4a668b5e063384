"""How fast is the decode loop? Against `generate` at its best, in one run, ratios of medians.

    python -m demos.bench                                               # the embedded LM, on 2 cores
    python -m demos.bench --model models/smollm2 --prompts 16 --prompt 128 --mean 32 --rows 64
    python -m demos.bench --model qwen3-4b --prompts 64 --prompt 128 --mean 256 --rows 256     # on a GPU

Both get the same prompts, and each text has the same given length, where it ends. Lengths vary as
real answers do: log-normal, sigma .77 (ours: that of MATH-500's solutions in SmolLM2's tokens), cut
at 4 means. `generate` decodes --rows texts a call, with a growing or a static cache (compiled where
transformers does so), whichever is faster here. qwen3-0.6b and qwen3-4b: their shapes, random
weights. Repeats are interleaved, after one of each that does not count.

The token policy adds its features, its network and what it records: its time over that of one
fixed temperature, at several batch sizes.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import platform
import time
from typing import Any

from functools import partial

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen3Config, StoppingCriteria

from decode import Strategy, rollout, static
from experiment.config import Config
from lm import LM, pick
from pomdp import TokenPolicy
from utils.errors import UserError
from utils.memory import memory
from utils.options import Parser

QWEN3 = dict(vocab_size=151936, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
             max_position_embeddings=40960, eos_token_id=151645)
SHAPES: dict[str, dict] = {
    "qwen3-0.6b": dict(hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
                       num_attention_heads=16, **QWEN3),
    "qwen3-4b": dict(hidden_size=2560, intermediate_size=9728, num_hidden_layers=36,
                     num_attention_heads=32, **QWEN3)}


class Vocabulary:
    """Of a model with random weights: all that `LM` asks of a tokenizer."""
    eos_token_id = QWEN3["eos_token_id"]

    def __len__(self) -> int:
        return QWEN3["vocab_size"]


def load(name: str, device: str, dtype: str) -> LM:
    if name not in SHAPES:
        return Config(model=name, device=device, dtype=dtype).load_lm()
    device, dtype = pick(device, dtype)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(Qwen3Config(**SHAPES[name]),
                                                 dtype=getattr(torch, dtype))
    return LM(model, Vocabulary(), name)


class Lengths(StoppingCriteria):
    """Ends row i of `generate` after lengths[i] tokens."""

    def __init__(self, prompt: int, lengths: Tensor):
        self.ends = prompt + lengths

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return input_ids.shape[1] >= self.ends


def generate(lm: LM, prompts: Tensor, lengths: Tensor, n: int, rows: int, cache: str) -> None:
    for part, ends in zip(prompts.split(max(1, rows // n)),
                          lengths.to(lm.device).split(max(1, rows // n) * n)):
        lm.model.generate(
            part, attention_mask=torch.ones_like(part), do_sample=True, top_k=0, pad_token_id=0,
            num_return_sequences=n, max_new_tokens=int(ends.max()), cache_implementation=cache,
            stopping_criteria=[Lengths(part.shape[1], ends)])


def medians(ways: dict, repeats: int, device: torch.device) -> dict:
    """Seconds of each way (name -> function), interleaved; the first round does not count."""
    seconds = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: sorted(x[1:])[repeats // 2] for name, x in seconds.items()}


def main() -> None:
    parser = Parser(description="Time the decode loop against `generate`.")
    for name, default, text in (
            ("model", "tiny", "tiny, a local folder, a hub id, " + ", ".join(SHAPES)),
            ("device", "auto", "cpu, cuda"), ("dtype", "auto", "float32, bfloat16"),
            ("prompts", 64, "prompts"), ("samples", 8, "texts a prompt"),
            ("prompt", 20, "tokens of a prompt"), ("mean", 16, "tokens of a text, on average"),
            ("rows", 512, "texts that decode at once"), ("repeats", 5, "timings of each way"),
            ("bandwidth", 3350.0, "GB/s of the GPU's memory (an H100's)")):
        parser.add_argument(f"--{name}", type=type(default), default=default,
                            help=f"{text} (default {default})")
    o = parser.parse_args()
    for name, value in vars(o).items():
        if type(value) is not str and value <= 0:
            raise UserError(f"--{name} must be above 0, not {value}")
    lm = load(o.model, o.device, o.dtype)
    lm.require(min(o.rows, o.prompts * o.samples), o.prompt + 4 * o.mean)
    lm.ends, lm.model.generation_config.eos_token_id = lm.ends[:0], None     # lengths alone end
    print(machine(lm))
    torch.manual_seed(0)
    prompts = torch.randint(5, len(lm.tokenizer), (o.prompts, o.prompt))
    sigma = 0.77
    lengths = (torch.randn(o.prompts * o.samples) * sigma - sigma ** 2 / 2).exp() * o.mean
    lengths = lengths.round().long().clamp(1, 4 * o.mean)
    print(f"{o.prompts} prompts of {o.prompt} tokens, {o.samples} texts each of {lengths.min()} to "
          f"{lengths.max()} tokens, {lengths.float().mean():.0f} on average; {o.rows} rows")
    compare(lm, prompts, lengths, o.samples, o.rows, o.repeats)
    seconds = compare(lm, prompts[:1], torch.tensor([4 * o.mean]), 1, 1, o.repeats)
    if lm.device.type == "cuda":
        share = memory(lm.model.config, lm.dtype).weights * 4 * o.mean / seconds
        print(f"         {share / o.bandwidth / 1e9:.0%} of the memory's bandwidth")
    policy = TokenPolicy(lm.d, 4 * o.mean).to(lm.device)
    for rows in sorted({1, 16, o.rows}):
        overhead(lm, prompts, lengths, o.samples, rows, o.repeats, policy)


def compare(lm: LM, prompts: Tensor, lengths: Tensor, n: int, rows: int, repeats: int) -> float:
    ids, keys, R = prompts.tolist(), torch.arange(len(prompts)), len(lengths)
    there, hot = prompts.to(lm.device), static(torch.tensor([Strategy()]))
    seconds = medians({
        "ours": lambda: rollout(lm, ids, hot, lengths, keys, n, rows=rows),
        "generate, growing cache": lambda: generate(lm, there, lengths, n, rows, "dynamic"),
        "generate, static cache": lambda: generate(lm, there, lengths, n, rows, "static"),
    }, repeats, lm.device)
    best = min(s for name, s in seconds.items() if name != "ours")
    print(f"{min(R, rows):4} rows: {best / seconds['ours']:.2f} times as fast as generate; "
          "tokens/s: " + ", ".join(f"{name} {lengths.sum() / s:,.0f}"
                                   for name, s in seconds.items()))
    return seconds["ours"]


def overhead(lm: LM, prompts: Tensor, lengths: Tensor, n: int, rows: int, repeats: int,
             policy: TokenPolicy) -> None:
    """At most 4 batches of `rows` texts: the batch is full for most of the time."""
    R = min(len(lengths), 4 * rows)
    n = min(n, R)
    R = R // n * n
    ids = prompts[:R // n].tolist()
    keys, hot = torch.arange(len(ids)), static(torch.tensor([Strategy()]))
    seconds = medians({
        "static": lambda: rollout(lm, ids, hot, lengths[:R], keys, n, rows=rows),
        "policy": lambda: rollout(lm, ids, partial(policy, explore=True), lengths[:R], keys, n,
                                  rows=rows)}, repeats, lm.device)
    print(f"{rows:4} rows: the token policy adds {seconds['policy'] / seconds['static'] - 1:.1%}")


def machine(lm: LM) -> str:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(x.split(":")[1].strip() for x in file if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    if lm.device.type == "cuda":
        name = torch.cuda.get_device_name(lm.device)
    return (f"{lm.name}, {lm.dtype}; {name}, {torch.get_num_threads()} threads, "
            f"torch {torch.__version__}")


if __name__ == "__main__":
    run_program("demos.bench", main)

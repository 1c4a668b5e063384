"""How fast is the decode loop? Against `generate` at its best, in one run, ratios of medians.

    python -m demos.bench                                              # the small LM, on 2 cores
    python -m demos.bench --model models/smollm2 --prompts 16 --prompt 128 --mean 32 --rows 64
    python -m demos.bench --model qwen3-4b --prompts 64 --prompt 128 --mean 256 --rows 256   # a GPU

Both get the same prompts, and every completion has a given length. Lengths vary as real answers do:
log-normal, sigma .77 (ours: that of MATH-500's solutions in SmolLM2's tokens), cut at 4 means.
`generate` decodes --rows rows a call, with a growing or a static cache (compiled where transformers
does so). qwen3-0.6b and qwen3-4b have the real shapes and random weights. Repeats are interleaved,
after one round that does not count. The last lines say how much time the token policy adds.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import platform
import time
from collections import defaultdict
from functools import partial
from typing import Any, Callable

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen3Config

from decode import Policy, Strategy, rollout, static
from experiment.config import Config
from experiment.load import load_lm
from lm import LM, pick_device_and_dtype
from pomdp import TokenPolicy
from utils.errors import OptionError
from utils.memory import memory
from utils.options import Parser

SIGMA = 0.77
FIXED = static(torch.tensor([Strategy()]))                                       # temperature 1
QWEN3 = dict(vocab_size=151936, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
             max_position_embeddings=40960, eos_token_id=151645)
# Hidden size, intermediate size, layers, attention heads.
SHAPES = {"qwen3-0.6b": (1024, 3072, 28, 16), "qwen3-4b": (2560, 9728, 36, 32)}
OPTIONS = (("model", "tiny", f"tiny, a local folder, a hub id, {', '.join(SHAPES)}"),
           ("device", "auto", "cpu, cuda"), ("dtype", "auto", "float32, bfloat16"),
           ("prompts", 64, "prompts"), ("samples", 8, "completions of each prompt"),
           ("prompt", 20, "tokens of a prompt"), ("mean", 16, "mean tokens of a completion"),
           ("rows", 512, "rows that decode at once"), ("repeats", 5, "timings of each way"),
           ("bandwidth", 3350.0, "GB/s of the GPU's memory (an H100's)"))


class Vocabulary:
    """All that `LM` asks of a tokenizer, for random weights."""
    eos_token_id = QWEN3["eos_token_id"]

    def __len__(self) -> int:
        return QWEN3["vocab_size"]


def load(name: str, device: str, dtype: str) -> LM:
    if name not in SHAPES:
        return load_lm(Config(model=name, device=device, dtype=dtype))
    device, dtype = pick_device_and_dtype(device, dtype)
    hidden, intermediate, layers, heads = SHAPES[name]
    config = Qwen3Config(hidden_size=hidden, intermediate_size=intermediate,
                         num_hidden_layers=layers, num_attention_heads=heads, **QWEN3)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return LM(model, Vocabulary(), name)


def has_ended(input_ids: Tensor, _scores: Tensor, lengths: Tensor, **_: Any) -> Tensor:
    """A criterion of `generate`, which ends row i at lengths[i] tokens, the prompt included."""
    return input_ids.shape[1] >= lengths


def generate(lm: LM, prompts: Tensor, lengths: Tensor, n: int, rows: int, cache: str) -> None:
    """transformers' `generate`, `rows` rows a call; prompts (N, P), lengths (N * n,)."""
    at_once = max(1, rows // n)
    for part, ends in zip(prompts.split(at_once), lengths.to(lm.device).split(at_once * n)):
        lm.model.generate(
            part, attention_mask=torch.ones_like(part), do_sample=True, top_k=0, pad_token_id=0,
            num_return_sequences=n, max_new_tokens=int(ends.max()), cache_implementation=cache,
            stopping_criteria=[partial(has_ended, lengths=part.shape[1] + ends)])


def medians(repeats: int, **ways: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each way, interleaved; the first round does not count."""
    seconds = defaultdict(list)
    for _ in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()                              # ends on the host, so that a GPU has ended as well
            seconds[name].append(time.perf_counter() - start)
    return {name: sorted(times[1:])[repeats // 2] for name, times in seconds.items()}


def compare(lm: LM, prompts: Tensor, lengths: Tensor, n: int, rows: int, repeats: int) -> float:
    """Prints our speed and that of `generate`; returns our seconds."""
    theirs = partial(generate, lm, prompts.to(lm.device), lengths, n, rows)
    ours = partial(rollout, lm, prompts.tolist(), FIXED, lengths, torch.arange(len(prompts)), n)
    seconds = medians(repeats, ours=partial(ours, rows=rows), growing=partial(theirs, "dynamic"),
                      static=partial(theirs, "static"))
    best = min(seconds["growing"], seconds["static"])
    speed = ", ".join(f"{name} {lengths.sum() / s:,.0f}" for name, s in seconds.items())
    print(f"{min(len(lengths), rows):4} rows: {best / seconds['ours']:.2f} times as fast as "
          f"`generate` with the better cache; tokens/s: {speed}")
    return seconds["ours"]


def overhead(lm: LM, prompts: Tensor, lengths: Tensor, n: int, rows: int, repeats: int,
             policy: Policy) -> None:
    """Prints what the policy adds; at most 4 * rows rows, so the batch is full most of the time."""
    n = min(n, 4 * rows)
    N = min(len(prompts), 4 * rows // n)
    ids = prompts[:N].tolist()
    run = partial(rollout, lm, ids, budgets=lengths[:N * n], keys=torch.arange(N), n=n, rows=rows)
    seconds = medians(repeats, fixed=partial(run, FIXED), policy=partial(run, policy))
    print(f"{rows:4} rows: the token policy adds {seconds['policy'] / seconds['fixed'] - 1:.1%}")


def processor(lm: LM) -> str:
    if lm.device.type == "cuda":
        return torch.cuda.get_device_name(lm.device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(x.split(":")[1].strip() for x in file if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = Parser(description="Time the decode loop against `generate`.")
    for name, default, text in OPTIONS:
        parser.add_argument(f"--{name}", type=type(default), default=default,
                            help=f"{text} (default {default})")
    o = parser.parse_args()
    for name, value in vars(o).items():
        if not isinstance(value, str) and value <= 0:
            raise OptionError(f"--{name} must be above 0, not {value}")
    longest = 4 * o.mean
    lm = load(o.model, o.device, o.dtype)
    lm.require(min(o.rows, o.prompts * o.samples), o.prompt + longest)
    lm.ends = lm.ends[:0]                                # no token ends a row, its length alone
    lm.model.generation_config.eos_token_id = None
    print(f"{lm.name}, {lm.dtype}; {processor(lm)}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}")
    torch.manual_seed(0)
    prompts = torch.randint(5, len(lm.tokenizer), (o.prompts, o.prompt))
    lengths = (torch.randn(o.prompts * o.samples) * SIGMA - SIGMA ** 2 / 2).exp() * o.mean
    lengths = lengths.round().long().clamp(1, longest)
    print(f"{o.prompts} prompts of {o.prompt} tokens, {o.samples} completions each; {o.rows} rows")
    print(f"{lengths.min()} to {lengths.max()} tokens, {lengths.float().mean():.0f} on average")
    compare(lm, prompts, lengths, o.samples, o.rows, o.repeats)
    seconds = compare(lm, prompts[:1], torch.tensor([longest]), 1, 1, o.repeats)
    if lm.device.type == "cuda":
        bandwidth = memory(lm.model.config, lm.dtype).weights * longest / seconds / 1e9   # GB/s
        print(f"         {bandwidth / o.bandwidth:.0%} of the memory's bandwidth")
    policy = partial(TokenPolicy(lm.d, longest).to(lm.device), explore=True)
    for rows in sorted({1, 16, o.rows}):
        overhead(lm, prompts, lengths, o.samples, rows, o.repeats, policy)


if __name__ == "__main__":
    run_program("demos.bench", main)

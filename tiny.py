"""The embedded language model: a character-level Llama (0.64 M parameters) that adds numbers.

    python tiny.py                       # how often it is right, by the work left undone; seconds
    python tiny.py --train models/again  # trains it again, 8 minutes on 2 cores: tiny/ was made so
    python tiny.py models/again          # how often that one is right

Its world is worked sums. After every line of work the writer stops with probability STOP and gives
the answer at once, the rest of the sum done in its head; asked with "?" it always does so. And at
every carry it may doubt, with probability DOUBT, and give up:

    7+8+5+9:7+8=15;15+5=20;20+9=29#29          the whole work: sure, long
    7+8+5+9:7+8=15#29                          an early answer: short, less sure
    7+8+5+9:7+8=15;15+5=?                      given up: never right
    7+8+5+9?#29                                asked for the answer at once

Greedy decoding never takes the less likely branch, so it runs out of tokens on long sums; a high
temperature takes it, but gives up. The two have the same entropy and opposite needs: no
temperature, top-k, top-p or min-p lets one through and not the other; the hidden state tells them
apart. Nothing outside this file and its task in tasks.py knows about sums.

    loss = -mean log p(y_t | y_<t)  over the completions; a prompt has none

Deviations from the paper: (1) its LM is Qwen3-4B, which lm.py loads; with this one the whole method
runs in minutes on two cores.
"""
from cli import Parser, UserError, run                      # first: see train.py

import itertools
import math
import random
import shlex
import time
import zlib
from collections import defaultdict
from typing import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from decode import GREEDY, Choice, Policy, State, rollout, static
from lm import LM, TINY

# ---- the world ----------------------------------------------------------------------------------
LENGTHS = range(3, 10)      # numbers in a sum (prototype)
NUMBERS = range(2, 13)      # small enough for mental sums (how often right: report)
STOP = 0.4                  # chance of an early answer after a line; < 0.5, so that greedy goes on
DOUBT = STOP                # chance to give up at a carry: the same entropy, the opposite need
AT_ONCE = 0.15              # share of the training traces that are asked with "?"
CALLED = 0.25               # share that is called to answer after any line alike (see `traces`)
CHARS = "0123456789+=;#:?"


def split_of(problem: str) -> str:
    """"lm", "train" or "test": by a hash of the text, so that no sum is in two of them."""
    return ("lm", "lm", "train", "test")[zlib.crc32(problem.encode()) % 4]


def problems(split: str, seed: int) -> Iterator[tuple[list[int], str]]:
    """Yields (numbers, text) of one split for ever, repeats included: `[7, 8, 5], "7+8+5"`."""
    rng = random.Random(f"{split} {seed}")
    while True:
        numbers = rng.choices(NUMBERS, k=rng.choice(LENGTHS))
        text = "+".join(map(str, numbers))
        if split_of(text) == split:
            yield numbers, text


def work(numbers: list[int], lines: int, rng: random.Random | None = None) -> str:
    """The first `lines` lines of running sums, then the answer.

    With `rng`, a line with a carry is given up with probability DOUBT.
    """
    total, shown = numbers[0], []
    for number in numbers[1:1 + lines]:
        carry = total % 10 + number % 10 > 9
        if rng and carry and rng.random() < DOUBT:
            return ";".join([*shown, f"{total}+{number}=?"])
        shown.append(f"{total}+{number}={total + number}")
        total += number
    return ";".join(shown) + f"#{sum(numbers)}"


def traces(seed: int) -> Iterator[tuple[str, str]]:
    """Yields (prompt, completion) of the training world for ever.

    The stops of the world itself are rarely late ones. In some traces the work so far and the mark
    "#" are therefore part of the prompt, which has no loss: mental sums are learned after every
    line alike, and the chance to stop stays as it is.
    """
    rng = random.Random(seed)
    for numbers, text in problems("lm", seed):
        kind = rng.random()
        if kind < AT_ONCE:
            yield text + "?", work(numbers, 0)
            continue
        if kind < AT_ONCE + CALLED:
            shown, answer = work(numbers, rng.randrange(1, len(numbers) - 1)).split("#")
            yield f"{text}:{shown}#", answer
            continue
        lines = 1
        while lines < len(numbers) - 1 and rng.random() > STOP:
            lines += 1
        yield text + ":", work(numbers, lines, rng)


def answer(text: str) -> str | None:
    """What follows the mark; None where there is no mark, however right the sums before it."""
    return text.partition("#")[2] or None


# ---- the yardstick ------------------------------------------------------------------------------
def work_length(prompt: str) -> int:
    """Tokens of the whole work for the prompt "7+8+5:", up to the answer's last digit."""
    numbers = [int(x) for x in prompt[:-1].split("+")]
    return len(work(numbers, len(numbers)))


def yardstick(lm: LM, prompts: list[str], budgets: Tensor) -> Policy:
    """A rule that sees the problem, no competitor and no proven bound: T = 1.25 at a fork (";" or
    "#") when the whole work is longer than the budget, else greedy. prompts, budgets: one a row."""
    fork = torch.tensor(sorted(lm.encode(";")[-1:] + lm.encode("#")[-1:]), device=lm.device)
    fits = torch.tensor([work_length(p) for p in prompts]) <= budgets                # (rows,)
    fits = fits.to(lm.device)

    def policy(state: State) -> Choice:
        top = state.logits.topk(2).indices.sort(1).values                            # (R, 2)
        strategies = torch.tensor(GREEDY, device=top.device).repeat(len(top), 1)
        strategies[(top == fork).all(1) & ~fits[state.row], 0] = 1.25
        return Choice(strategies, filters=False)

    return policy


# ---- the tokenizer and the model ----------------------------------------------------------------
def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *CHARS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>",
                                   unk_token="<pad>", clean_up_tokenization_spaces=False)


def make_model() -> LlamaForCausalLM:
    """3 layers x 128 (prototype); 24 rows in the head for 18 tokens, as real heads are padded."""
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=24, hidden_size=128, intermediate_size=384, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=256, tie_word_embeddings=True,
        pad_token_id=0, eos_token_id=1, bos_token_id=None))


# ---- its training -------------------------------------------------------------------------------
def packed_rows(seed: int, rows: int, length: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields (ids, positions, labels), each (rows, length), for ever.

    Traces are packed end to end; positions start again at 0 with each of them, from which
    transformers makes the block-diagonal attention mask. Labels are -100 on prompt and padding:
    the model learns how to answer, not which sums are asked.
    """
    encode = {c: i for i, c in enumerate(CHARS, start=2)}
    stream, held = traces(seed), None
    while True:
        ids = torch.zeros(rows, length, dtype=torch.long)
        positions, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row in range(rows):
            start = 0
            while True:
                prompt, completion = held or next(stream)
                text = [encode[c] for c in prompt + completion] + [1]
                end = start + len(text)
                if end > length:
                    held = prompt, completion
                    positions[row, start:] = torch.arange(length - start)   # padding: its own block
                    break
                held = None
                ids[row, start:end] = torch.tensor(text)
                positions[row, start:end] = torch.arange(len(text))
                labels[row, start + len(prompt):end] = ids[row, start + len(prompt):end]
                start = end
        yield ids, positions, labels


def train(model: LlamaForCausalLM, steps: int, rows: int = 64, length: int = 128,
          peak: float = 3e-3, seed: int = 0) -> float:
    """AdamW (.9, .95), weight decay .05, 100 warm-up steps, cosine, clipped at 1 (prototype)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.05)
    bar = tqdm(range(steps), desc="training the LM")
    for step, (ids, positions, labels) in zip(bar, packed_rows(seed, rows, length)):
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = peak * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        logits = model(ids, position_ids=positions).logits                      # (rows, length, V)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return loss.item()


# ---- what it can do -----------------------------------------------------------------------------
def report(lm: LM, count: int = 1500) -> str:
    """Held-out accuracy by how many numbers were still to be added when the answer had to come.

    The work so far, all of it right, and the mark "#" are put in its mouth.
    """
    right = {":": defaultdict(list), "?": defaultdict(list)}
    sums = itertools.islice(problems("test", 1), count)
    cases = [(numbers, text, lines) for numbers, text in sums for lines in range(len(numbers))]
    prompts = [text + ":?"[lines == 0] + work(numbers, lines).split("#")[0] + "#"
               for numbers, text, lines in cases]
    episodes = rollout(lm, [lm.encode(p) for p in prompts],
                       static(torch.tensor([GREEDY])),
                       torch.full((len(prompts),), 4), torch.zeros(len(prompts)).long())
    for (numbers, _, lines), episode in zip(cases, episodes):
        ok = lm.text(episode.tokens) == str(sum(numbers))
        right[":?"[lines == 0]][len(numbers) - 1 - lines].append(ok)
    lefts = range(max(LENGTHS))
    table = ["numbers left to add".ljust(28) + "".join(f"{n:6}" for n in lefts)]
    for ending, name in ((":", "answer after some work"), ("?", "asked for it at once")):
        cells = [right[ending][n] for n in lefts]
        table.append(f"{name}, %".ljust(28) + "".join(
            f"{100 * sum(ok) / len(ok):6.0f}" if ok else "     -" for ok in cells))
    return "\n".join(table)


def main() -> None:
    parser = Parser(description="How often is the embedded LM right? Or train it again.")
    parser.add_argument("lm", nargs="?", default=TINY, help="folder of the LM (default tiny/)")
    parser.add_argument("--train", metavar="FOLDER", help="train an LM on sums, and write it there")
    parser.add_argument("--steps", type=int, default=1400, help="of training (default 1400)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default 0)")
    args = parser.parse_args()
    if not args.train:
        return print(report(LM.load(args.lm)))
    if args.steps < 1:
        raise UserError("--steps must be at least 1")
    torch.manual_seed(args.seed)
    model, start = make_model(), time.time()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, writes {args.train}")
    loss = train(model, args.steps, seed=args.seed)
    model.save_pretrained(args.train)
    make_tokenizer().save_pretrained(args.train)
    print(f"loss {loss:.3f} after {(time.time() - start) / 60:.1f} minutes; "
          f"wrote {args.train}\nnext: ./run train.py --model {shlex.quote(args.train)}")


if __name__ == "__main__":
    run("tiny.py", main)

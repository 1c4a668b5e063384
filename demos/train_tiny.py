"""Trains the embedded LM, or reports how often it is right.

    python -m demos.train_tiny                         # how often it is right, by the work left undone
    python -m demos.train_tiny --train models/again    # trains it again, 8 minutes on 2 cores
    python -m demos.train_tiny models/again            # how often that one is right

    loss = -mean log p(y_t | y_<t)  over the completions; a prompt has none
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import itertools
import math
import shlex
import time
from collections import defaultdict
from typing import Iterator

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from decode import GREEDY, rollout, static
from lm import LM, TINY
from tiny import CHARS, LENGTHS, problems, traces, work
from utils.errors import UserError
from utils.options import Parser


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
    run_program("demos.train_tiny", main)

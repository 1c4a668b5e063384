"""Trains the small LM (tiny.py), or reports how often it is right.

    python -m demos.train_tiny                         # how often it is right, in seconds
    python -m demos.train_tiny --train models/again    # trains it again, 8 minutes on 2 cores
    python -m demos.train_tiny models/again            # how often that one is right
"""
from utils.cli import run_program        # first: then Ctrl-C prints one line while torch loads

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

from decode import GREEDY, generate, static
from lm import LM, TINY
from tiny import CHARACTERS, LENGTHS, problems, training_examples, worked_solution
from utils.errors import OptionError
from utils.options import Parser

VOCABULARY = {token: i for i, token in enumerate(["<pad>", "<eos>", *CHARACTERS])}


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<pad>"))
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
    """Yields (ids, positions, labels), each (rows, length), without end.

    A row contains as many examples as fit. Positions start again at 0 with each of them; from that
    transformers makes an attention mask in which each one sees only itself. Prompts and padding
    have the label -100, no loss: the LM learns how to answer, not which sums are asked.
    """
    examples = training_examples(seed)
    prompt, completion = next(examples)
    while True:
        ids = torch.zeros(rows, length, dtype=torch.long)
        positions = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for row in range(rows):
            start = 0
            while start + len(prompt + completion) < length:          # one token more: <eos>
                tokens = [VOCABULARY[c] for c in [*prompt, *completion, "<eos>"]]
                end = start + len(tokens)
                ids[row, start:end] = torch.tensor(tokens)
                positions[row, start:end] = torch.arange(len(tokens))
                labels[row, start + len(prompt):end] = ids[row, start + len(prompt):end]
                # The next example goes behind this one, or, if it does not fit, into the next row
                prompt, completion = next(examples)
                start = end
            positions[row, start:] = torch.arange(length - start)     # padding sees only itself
        yield ids, positions, labels


def train(model: LlamaForCausalLM, steps: int, rows: int = 64, length: int = 128,
          peak: float = 3e-3, seed: int = 0) -> float:
    """AdamW (.9, .95), weight decay .05, 100 warm-up steps, cosine, clipped at 1 (prototype)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.05)
    bar = tqdm(range(steps), desc="training the LM")
    for step, (ids, positions, labels) in zip(bar, packed_rows(seed, rows, length)):
        warm_up = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = peak * warm_up * 0.5 * (1 + math.cos(math.pi * step / steps))
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
    """Held-out accuracy by how many numbers were still to be added when the answer had to come."""
    # For each sum and each number of lines, the prompt contains these lines, all right, and "#"
    cases, prompts = [], []
    for numbers, text in itertools.islice(problems("test", seed=1), count):
        for lines in range(len(numbers)):
            kind = "answer after some work, %" if lines else "asked for it at once, %"
            shown, answer = worked_solution(numbers, lines).split("#")
            cases.append((kind, len(numbers) - 1 - lines, answer))
            prompts.append(f"{text}{':' if lines else '?'}{shown}#")
    episodes = generate(lm, prompts, static(torch.tensor([GREEDY])), budgets=4)
    right = defaultdict(list)                               # (kind, numbers left) -> right or not
    for (kind, left, answer), episode in zip(cases, episodes):
        right[kind, left].append(lm.text(episode.tokens) == answer)

    table = "numbers left to add         " + "".join(f"{left:6}" for left in range(max(LENGTHS)))
    for kind in ("answer after some work, %", "asked for it at once, %"):
        cells = [right[kind, left] for left in range(max(LENGTHS))]
        table += f"\n{kind:28}"
        table += "".join(f"{100 * sum(x) / len(x):6.0f}" if x else "     -" for x in cells)
    return table


def main() -> None:
    parser = Parser(description="Reports how often the small LM is right, or trains it again.")
    parser.add_argument("lm", nargs="?", default=TINY, help="folder (default: the small LM's)")
    parser.add_argument("--train", metavar="FOLDER", help="train an LM on sums and write it there")
    parser.add_argument("--steps", type=int, default=1400, help="of training (1400)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default 0)")
    args = parser.parse_args()
    if not args.train:
        return print(report(LM.load(args.lm)))
    if args.steps < 1:
        raise OptionError("--steps must be at least 1")
    torch.manual_seed(args.seed)
    model = make_model()
    print(f"{model.num_parameters():,} parameters; writes {args.train}")
    start = time.time()
    loss = train(model, args.steps, seed=args.seed)
    model.save_pretrained(args.train)
    make_tokenizer().save_pretrained(args.train)
    print(f"loss {loss:.3f} after {(time.time() - start) / 60:.1f} minutes; wrote {args.train}\n"
          f"next: ./run train.py --model {shlex.quote(args.train)}")


if __name__ == "__main__":
    run_program("demos.train_tiny", main)

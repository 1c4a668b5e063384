"""What a language model needs of memory, from its configuration alone.

    python -m demos.memory MODEL --rows 64 --tokens 1024
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

from lm import DTYPES, cache_length, model_config, pick, place
from utils.errors import UserError
from utils.memory import memory
from utils.options import Parser


def main() -> None:
    parser = Parser(description="What an LM needs of memory, from its configuration alone.")
    parser.add_argument("model", help="hub id or local folder")
    parser.add_argument("--rows", type=int, default=64, help="texts that decode at once (64)")
    parser.add_argument("--tokens", type=int, default=1024, help="of a prompt and its text (1024)")
    parser.add_argument("--dtype", default="bfloat16", help=f"{', '.join(DTYPES)} (bfloat16)")
    parser.add_argument("--bandwidth", type=float, default=3350, help="GB/s (an H100's 3350)")
    args = parser.parse_args()
    if min(args.rows, args.tokens, args.bandwidth) <= 0:
        raise UserError("--rows, --tokens and --bandwidth must be above 0")
    dtype = pick("cpu", args.dtype)[1]
    need = memory(model_config(place(args.model)), dtype, args.rows, cache_length(args.tokens))
    # A step reads all weights and, over a text's length, half of the texts' keys and values; that
    # an ordinary loop reaches half of the bandwidth is our guess.
    texts = need.cache * args.tokens / cache_length(args.tokens)
    step = 2 * (need.weights + texts / 2) / (args.bandwidth * 1e9)
    print(f"{args.model} in {dtype}, {args.rows} rows of {args.tokens} tokens: {need}; computed at "
          f"half of {args.bandwidth:g} GB/s, {args.rows / step:,.0f} tokens/s")


if __name__ == "__main__":
    run_program("demos.memory", main)

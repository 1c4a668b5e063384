"""A trained adapter in a script of your own.

    ./run train.py --quick                           # an adapter to try, in runs/sums
    ./run -m demos.adapter           # wherever the script lies: this folder's path

"tiny" may be a hub id or a model's folder, "runs/sums" the hub id of a run that was uploaded. The
policy picks a temperature before every token; it knows how many of the 24 are left.
"""
from decode import generate
from experiment.adapters import load_adapter, run_folder
from lm import LM

lm = LM.load("tiny")
policy, about = load_adapter(run_folder("runs/sums") + "/token-0.safetensors", lm)
prompts = ["7+8+5+9:", "12+3+4+11+6:"]
for text in generate(lm, prompts, policy, 24, n=2):
    ending = " (ran out of tokens)" if text.truncated else ""
    print(prompts[text.prompt] + lm.text(text.tokens) + ending)

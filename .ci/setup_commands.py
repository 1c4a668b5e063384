"""Runs every command of the README that sets something up, as printed: packages and a model folder.

    ./run .ci/setup_commands.py          # in a clone without models/smollm2, 2 minutes

Others are only parsed by the tests. These failed once: they had been parsed, and never run.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SETS_UP = r"(?:\./run -m pip install|\./run -m demos\.from_gguf)"


def commands(readme: str) -> list[str]:
    """Those in blocks, and those between backquotes, in order."""
    return re.findall(rf"^    ({SETS_UP}.*)$|`({SETS_UP}[^`]*)`", readme, re.MULTILINE)


def main() -> None:
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        found = [block or inline for block, inline in commands(file.read())]
    assert len(found) >= 3, found
    for command in found:
        print(f"+ {command}", flush=True)
        if subprocess.run(command, shell=True, cwd=ROOT).returncode:
            sys.exit(f"the README's command fails: {command}")
    # What they have made loads as a model and answers
    check = ("from lm import LM; lm = LM.load('models/smollm2'); lm.prefill([lm.encode('1+1=')]); "
             "print(lm.name, lm.h.shape)")
    sys.exit(subprocess.run(["./run", "-c", check], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()

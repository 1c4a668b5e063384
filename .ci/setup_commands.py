"""Runs every command of the pages that sets something up, as printed: packages, a model folder.

    ./run .ci/setup_commands.py          # in a clone without models/smollm2, 2 minutes

Others are only parsed by the tests. These failed once: they had been parsed, and never run.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SETS_UP = r"(?:\./run -m pip install|\./run -m demos\.from_gguf)"


def commands(text: str) -> list[str]:
    """Those in blocks, and those between backquotes, in order."""
    return re.findall(rf"^    ({SETS_UP}.*)$|`({SETS_UP}[^`]*)`", text, re.MULTILINE)


def main() -> None:
    texts = []
    for path in ("README.md", "docs/models.md", "docs/real-llms.md"):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            texts.append(file.read())
    found = list(dict.fromkeys(block or inline for block, inline in commands("\n".join(texts))))
    found = [command for command in found if "--gguf" not in command]        # needs a download
    assert len(found) >= 3, found
    for command in found:
        print(f"+ {command}", flush=True)
        if subprocess.run(command, shell=True, cwd=ROOT).returncode:
            sys.exit(f"a command of the pages fails: {command}")
    # What they have made loads as a model and answers
    check = ("from lm import LM; lm = LM.load('models/smollm2'); lm.prefill([lm.encode('1+1=')]); "
             "print(lm.name, lm.h.shape)")
    sys.exit(subprocess.run(["./run", "-c", check], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()

"""Names of models and runs: folders of this machine, or hub ids."""
import os
import re

from huggingface_hub import snapshot_download

from utils.errors import UserError


def title(name: str) -> str:
    """Of an LM in a file that others may read: no folders of this machine."""
    return os.path.basename(os.path.normpath(name)) if os.path.isabs(name) else name


def hub_id(name: str) -> bool:
    return not os.path.isdir(name) and bool(re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name))


def from_hub(name: str, what: str, files: list[str]) -> str:
    """The folder on this machine that holds a hub id's files. Raises UserError: no such id.

    A mistyped name fails at once: this asks the hub once, `from_pretrained` six times in 24 s.
    """
    if not hub_id(name):
        raise UserError(f"cannot load the {what} {name!r}: no such folder, and no hub id")
    try:
        return snapshot_download(name, allow_patterns=files)
    except Exception as error:                           # of the hub, the network, the cache
        raise UserError(f"cannot load the {what} {name!r}: no folder here holds it, and the hub "
                        f"does not give it: {str(error).strip().splitlines()[0]}")

"""Names of models and runs: folders of this machine, or hub ids."""
import os
import re

from huggingface_hub import snapshot_download
from transformers import AutoConfig, PretrainedConfig

from utils.errors import UserError


def public_name(name: str) -> str:
    """A name for files that others may read: without the folders of this machine."""
    return os.path.basename(os.path.normpath(name)) if os.path.isabs(name) else name


def is_hub_id(name: str) -> bool:
    return not os.path.isdir(name) and bool(re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name))


def from_hub(name: str, what: str, files: list[str]) -> str:
    """Downloads a hub id's files and returns their folder. Raises UserError if there is no such id.

    A mistyped name fails at once: this asks the hub once, `from_pretrained` six times in 24 s.
    """
    if not is_hub_id(name):
        raise UserError(f"cannot load the {what} {name!r}: no such folder, and no hub id")
    try:
        return snapshot_download(name, allow_patterns=files)
    except Exception as error:                           # of the hub, the network, the cache
        raise UserError(f"cannot load the {what} {name!r}: no folder here holds it, and the hub "
                        f"does not give it: {str(error).strip().splitlines()[0]}")


def model_config(name: str) -> PretrainedConfig:
    """Of a local folder or a hub id. Raises UserError."""
    if not os.path.isdir(name):
        from_hub(name, "model", ["config.json"])
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot load the model {name!r}: {str(error).strip().splitlines()[0]}")

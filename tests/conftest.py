import os
import signal
import sys

import pytest
import torch

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ["HF_HUB_OFFLINE"] = "1"                       # a test never waits for a hub
torch.manual_seed(0)
signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell's background job ignores it


@pytest.fixture(scope="session")
def lm():
    from lm import LM
    return LM.load("tiny", device="cpu")

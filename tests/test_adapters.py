"""An adapter comes back from disk as it was saved, and is refused if it does not fit."""
import json

import pytest
import torch
from safetensors.torch import save_file

from bandit import LinUCB, SoftmaxBandit
from decode import GREEDY, Strategy
from experiment import adapters as adapters_module
from experiment.adapters import (arms_from_json, arms_to_json, load_adapter, read_adapter,
                                 save_adapter)
from experiment.reward_table import Arm
from features import CONTEXT_PARTS, N_THRESHOLDS
from pomdp import TokenPolicy
from utils.errors import UserError

ARMS = [Arm("cot", GREEDY), Arm("direct", Strategy(1.5, 2, 0.8, 0.1)), Arm("cot", Strategy(), True)]


def adapters(lm):
    torch.manual_seed(0)
    token = TokenPolicy(lm.d, 40, ("hidden", "budget"))
    soft, lin = SoftmaxBandit(lm.d + 2 * N_THRESHOLDS, 3), LinUCB(lm.d + 2 * N_THRESHOLDS, 3)
    lin.update(torch.randn(lm.d + 2 * N_THRESHOLDS), 1, 1.0)
    about = {"arms": arms_to_json(ARMS), "parts": CONTEXT_PARTS}
    return {"token": (token, token.state_dict(), {"horizon": 40, "parts": ["hidden", "budget"]}),
            "softmax": (soft, soft.state_dict(), about), "linucb": (lin, lin.state_dict(), about)}


@pytest.mark.parametrize("kind", ["token", "softmax", "linucb"])
def test_an_adapter_comes_back_as_it_was(lm, tmp_path, kind):
    adapter, tensors, about = adapters(lm)[kind]
    path = str(tmp_path / "a.safetensors")
    save_adapter(path, tensors, kind, lm, **about)
    again, config = load_adapter(path, lm)
    x = torch.randn(4, lm.d + 2 * N_THRESHOLDS)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in tensors.items())
    if kind == "token":
        assert again.parts == ("hidden", "budget") and again.horizon == 40
    else:
        assert torch.equal(adapter(x), again(x)) and arms_from_json(config["arms"]) == ARMS


def test_an_adapter_of_another_lm_or_action_set_is_refused(lm, tmp_path, monkeypatch):
    _, tensors, about = adapters(lm)["token"]
    path = str(tmp_path / "a.safetensors")
    save_adapter(path, tensors, "token", lm, **about)
    monkeypatch.setattr(adapters_module, "TEMPERATURES", (0.0, 0.7))
    with pytest.raises(UserError, match="for the actions"):
        load_adapter(path, lm)
    monkeypatch.undo()
    weight = lm.model.model.norm.weight
    before = weight[0].item()
    weight[0] += 1
    try:
        with pytest.raises(UserError, match="was trained for the LM"):
            load_adapter(path, lm)
    finally:
        weight[0] = before
    load_adapter(path, lm)


def test_files_that_are_no_adapters_are_named(lm, tmp_path):
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name in ("empty.safetensors", "missing.safetensors"):
        with pytest.raises(UserError, match=name):
            load_adapter(str(tmp_path / name), lm)


def refusal(path, lm):
    """The message of the UserError, which is one line that names the file."""
    before = dict(lm.prompt_format)
    with pytest.raises(UserError) as refused:
        load_adapter(path, lm)
    message = str(refused.value)
    assert path in message and "\n" not in message and lm.prompt_format == before
    return message


def test_a_state_dict_of_another_shape_or_kind_is_refused_in_one_line(lm, tmp_path):
    path = str(tmp_path / "a.safetensors")
    wide = TokenPolicy(lm.d, 40, width=64)
    about = {"horizon": 40, "parts": wide.parts, "width": 128, "stop": "#"}
    save_adapter(path, wide.state_dict(), "token", lm, **about)
    assert "size mismatch for actor.0.weight" in refusal(path, lm)
    save_adapter(path, wide.state_dict(), "token", lm, **about | {"parts": ["of another version"]})
    assert "does not fit: 'of another version' is missing or unknown" in refusal(path, lm)
    save_adapter(path, LinUCB(9, 3).state_dict(), "token", lm, **about)
    assert "does not fit: Missing key(s)" in refusal(path, lm)
    save_adapter(path, wide.state_dict(), "token", lm, parts=wide.parts, stop="#")
    assert "does not fit: 'horizon' is missing or unknown" in refusal(path, lm)
    tensors, metadata = read_adapter(path)
    save_file(tensors, path, {"config": json.dumps(metadata | {"kind": "thompson"})})
    told = refusal(path, lm)
    assert "of kind 'thompson'; the kinds known here are token, softmax, linucb" in told

"""Checkpoints of models of images: our own, timm's that are adopted, and other files."""

import json
import re
import shlex
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import IMAGES, small_inputs, small_net
from safetensors.torch import load_file, save_file
from shared_vision import models, randomised, timms
from timm.models import load_state_dict
from timm.models.vision_transformer import VisionTransformer

from weit_rl.common.errors import UserError
from weit_rl.models import timm_weights
from weit_rl.models.timm_checkpoint import load_timm, timm_file
from weit_rl.models.timm_weights import CLASSIFIERS, write_safetensors
from weit_rl.training.checkpoint import load_network, save_network


@models
def test_a_checkpoint_alone_suffices_to_classify(model, tmp_path):
    net, (pixels,) = small_net(model, drop_path=0.1).eval(), small_inputs(model)
    net.image_mean.fill_(0.2)
    options = IMAGES | {"drop_path": 0.1}
    save_network(tmp_path / "n.safetensors", net, {"model": model, "size": [16, 2, 8], "options": options})
    assert torch.equal(load_network(tmp_path / "n.safetensors")[0](pixels), net(pixels))


@models
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_timms_checkpoints_are_adopted(model, kind, tmp_path):
    conv_mlp = model == "convnext" and kind == "pth"
    plain, path, (pixels,) = timms(model, conv_mlp=conv_mlp), tmp_path / f"model.{kind}", small_inputs(model)
    randomised(plain).eval()
    if kind == "safetensors":
        save_file(plain.state_dict(), path)
    else:
        torch.save({"model": plain.state_dict()}, path)
    told = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "input_size": [3, 8, 8]}
    pool = {"vit": "token", "convnext": "avg"}[model]
    (tmp_path / "config.json").write_text(json.dumps({"global_pool": pool, "pretrained_cfg": told}))
    net, card = load_timm(path, head_dim=8, allow_pickle=kind == "pth")
    assert card["model"] == model and card["size"] == [16, 2, 8] and card["options"]["classes"] == 2
    x = torch.from_numpy(
        (pixels.numpy() / 255 - np.reshape(told["mean"], (3, 1, 1))) / np.reshape(told["std"], (3, 1, 1))
    )
    torch.testing.assert_close(net(pixels), plain(x.float()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("told", [{"global_pool": "avg"}, {"model_args": {"act_layer": "relu"}}])
def test_settings_that_change_the_network_of_the_same_weights_are_refused(told, tmp_path):
    save_file(timms("vit").state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="another variant than ours"):
        load_timm(tmp_path / "model.safetensors", head_dim=8)


def test_other_files_are_no_checkpoints(tmp_path):
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_timm(tmp_path / "none.safetensors")
    torch.save(small_net("vit"), tmp_path / "pickled.pth")
    with pytest.raises(UserError, match="may be a pickle; give timm's"):
        load_timm(tmp_path / "pickled.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_timm(tmp_path / "pickled.pth", allow_pickle=True)
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"has no 'patch_embed\.proj\.weight'"):
        load_timm(tmp_path / "x.safetensors")
    other = VisionTransformer(8, 2, embed_dim=16, depth=1, num_heads=2, num_classes=3, init_values=1e-5)
    save_file(other.state_dict(), tmp_path / "ls.safetensors")
    with pytest.raises(UserError, match=r"another variant, blocks.0.ls1.gamma is \(16,\) there and None in ours"):
        load_timm(tmp_path / "ls.safetensors", head_dim=8)


WRAPS = {
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "DistributedDataParallel": lambda name: f"module.{name}",
    "compiled in DDP": lambda name: f"module._orig_mod.{name}",
    "DDP in compiled": lambda name: f"_orig_mod.module.{name}",
    "twice": lambda name: f"module.module.{name}",
    "blocks compiled": lambda name: name.replace("blocks.0.", "blocks.0._orig_mod."),
    "Lightning": lambda name: f"model.{name}",
    "Lightning of DDP": lambda name: f"net.module.{name}",
}


def same_answers(model, net, plain):
    (pixels,) = small_inputs(model)
    torch.testing.assert_close(net(pixels), plain(((pixels / 255) - 0.5) / 0.5), rtol=1e-4, atol=1e-5)


@models
@pytest.mark.parametrize("wrap", WRAPS)
def test_names_of_wrapped_networks_are_read(model, wrap, tmp_path):
    plain = randomised(timms(model)).eval()
    save_file({WRAPS[wrap](name): t for name, t in plain.state_dict().items()}, tmp_path / "n.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"input_size": [3, 8, 8]}))
    same_answers(model, load_timm(tmp_path / "n.safetensors", head_dim=8)[0], plain)


def nested(plain, other):
    """Return files as people save them: what torch.save gets, and whose weights count."""
    weights = plain.state_dict()
    averaged = torch.optim.swa_utils.AveragedModel(plain).state_dict()
    return {
        "model": {"model": weights, "optimizer": {"state": {}}, "epoch": 3, "args": Namespace(lr=1e-3)},
        "state_dict": {"state_dict": weights, "state_dict_ema": None},
        "state_dict_ema": {"state_dict": other.state_dict(), "state_dict_ema": weights},
        "model_ema": {"model": other.state_dict(), "model_ema": weights},
        "both": {"state_dict": {"model": {f"module.{name}": t for name, t in weights.items()}}},
        "averaged": averaged,
        "plain": weights,
    }


@pytest.mark.parametrize("kind", nested(timms("vit"), timms("vit")))
@pytest.mark.parametrize("name", ["my 'own'.pth", "mine.pt", "pytorch_model.bin"])
def test_the_advice_for_a_pickle_makes_a_file_that_is_read(kind, name, tmp_path, capsys):
    plain, path = randomised(timms("vit")).eval(), tmp_path / name
    torch.save(nested(plain, timms("vit"))[kind], path)
    with pytest.raises(UserError, match="may be a pickle") as error:
        load_timm(path, head_dim=8)
    words, new = re.fullmatch(
        r".* python -m weit_rl\.models\.timm_weights (.*) and give (.*)", str(error.value)
    ).groups()
    assert timm_weights.main(shlex.split(words)) == 0 and capsys.readouterr().out == f"written: {new}\n"
    assert timm_file(tmp_path if name.endswith(".bin") else Path(new)) == Path(new)
    same_answers("vit", load_timm(new, head_dim=8)[0], plain)
    timms("vit").load_state_dict(load_state_dict(new), strict=True)  # timm reads it, too
    with pytest.raises(UserError, match="exists already"):
        write_safetensors(path)


def test_a_file_of_two_networks_is_refused(tmp_path):
    weights = timms("vit").state_dict()
    both = {f"{who}.{name}": tensor.clone() for who in ("student", "teacher") for name, tensor in weights.items()}
    save_file(both, tmp_path / "n.safetensors")
    with pytest.raises(UserError, match=r"holds several networks \(student\., teacher\.\)"):
        load_timm(tmp_path / "n.safetensors", head_dim=8)


def test_a_file_of_a_wrapped_and_a_plain_network_is_refused(tmp_path):
    weights = timms("vit").state_dict()
    save_file(weights | {f"module.{name}": tensor + 1 for name, tensor in weights.items()}, tmp_path / "n.safetensors")
    with pytest.raises(UserError, match="holds a network wrapped and as it is"):
        load_timm(tmp_path / "n.safetensors", head_dim=8)


def test_a_file_that_contains_itself_is_read_to_an_end(tmp_path):
    endless = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "n.pth")
    with pytest.raises(UserError, match="holds no weights"):
        write_safetensors(tmp_path / "n.pth")


def test_code_in_a_pickle_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").write_text, ("x",))

    torch.save({"model": timms("vit").state_dict(), "x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        write_safetensors(tmp_path / "evil.pth")
    assert timm_weights.main([str(tmp_path / "evil.pth")]) == 2
    assert not (tmp_path / "ran").exists() and not (tmp_path / "evil.safetensors").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_the_command_for_pickles_ends_well_wherever_it_prints(tmp_path, monkeypatch):
    torch.save(timms("vit").state_dict(), tmp_path / "é.pth")
    with open("/dev/full", "w", encoding="ascii") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert timm_weights.main([str(tmp_path / "é.pth")]) == 0
    assert (tmp_path / "é.safetensors").exists()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda net: net, r"such as a whole network.*write one with torch\.save\(net\.state_dict\(\), NEW\)"),
        (
            lambda net: {"student": net.state_dict()},
            "holds no weights, also not as .*, but student; save weights alone",
        ),
        (lambda net: {}, "but nothing; save"),
    ],
)
def test_a_pickle_of_something_else_says_what_to_save(made, says, tmp_path):
    torch.save(made(timms("vit")), tmp_path / "n.pth")
    with pytest.raises(UserError, match=says) as error:
        write_safetensors(tmp_path / "n.pth")
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("model", ["vit", "convnext"])
def test_a_classifier_beside_a_backbone_is_kept(model, tmp_path):
    weights = randomised(timms(model)).state_dict()
    split = {name if name in CLASSIFIERS else f"backbone.{name}": tensor for name, tensor in weights.items()}
    assert len(split.keys() & weights.keys()) == 2
    torch.save(split | {"head.mlp.0.weight": torch.ones(3)}, tmp_path / "n.pth")  # a projection, which is left out
    read = load_file(write_safetensors(tmp_path / "n.pth"))
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in CLASSIFIERS & read.keys())

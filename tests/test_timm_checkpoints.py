"""Checkpoints of models of images: our own, timm's that are adopted, and other files."""

import json

import numpy as np
import pytest
import torch
from conftest import IMAGES, small_inputs, small_net
from safetensors.torch import save_file
from shared_vision import models, randomised, timms
from timm.models.vision_transformer import VisionTransformer

from weit_rl.errors import UserError
from weit_rl.models.timm_checkpoint import load_timm
from weit_rl.training.checkpoint import load_network, save_network


@models
def test_a_checkpoint_is_all_it_takes_to_classify(model, tmp_path):
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
def test_what_makes_another_network_of_the_same_weights_is_refused(told, tmp_path):
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

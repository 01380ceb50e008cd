"""Files for timm: it reads our checkpoints and folders, and answers as we do."""

import json

import numpy as np
import pytest
import timm
import torch
from conftest import IMAGES, small_inputs, small_net
from PIL import Image
from safetensors import safe_open
from shared_vision import models, randomised, timms
from timm.models import load_checkpoint

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.models.timm_checkpoint import load_timm, timm_file
from weit_rl.storage.tensor_file import write_tensors
from weit_rl.training.checkpoint import NETWORK, load_network, save_network
from weit_rl.vision.timm_folder import write_timm

CARD = {"size": [16, 2, 8], "options": IMAGES, "classes": ["cat", "dog"]}


@pytest.fixture(params=["vit", "convnext"])
def mine(request):
    """Return a network with a normaliser of its own, its card, images, and timm's words for it."""
    net, (pixels,) = randomised(small_net(request.param)).eval(), small_inputs(request.param)
    net.image_mean.copy_(torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1))
    net.image_std.copy_(torch.tensor([0.4, 0.5, 0.6]).view(-1, 1, 1))
    return net, CARD | {"model": request.param}, pixels


def normalised(pixels, mean, std):
    return (pixels / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def test_timm_reads_a_checkpoint_strictly(mine, tmp_path):
    net, card, pixels = mine
    save_network(tmp_path / "n.safetensors", net, card)
    plain = timms(card["model"])
    load_checkpoint(plain, str(tmp_path / "n.safetensors"), strict=True)
    with safe_open(tmp_path / "n.safetensors", "pt") as file:
        numbers = json.loads(file.metadata()["card"])["normaliser"]
    assert torch.equal(plain.eval()(normalised(pixels, numbers["image_mean"], numbers["image_std"])), net(pixels))


def test_a_checkpoint_keeps_its_normaliser(mine, tmp_path):
    net, card, pixels = mine
    save_network(tmp_path / "new.safetensors", net, card)
    write_tensors(tmp_path / "old.safetensors", dict(net.state_dict()), {"format": NETWORK, **card})  # as once
    for name in ("new", "old"):
        read, told = load_network(tmp_path / f"{name}.safetensors")
        assert torch.equal(read(pixels), net(pixels)) and told == {"format": NETWORK, **card}


@pytest.mark.parametrize("numbers", [5, {"image_mean": "x"}, {"image_mean": [0.5] * 4}, {"other": [0.5]}])
def test_a_wrong_normaliser_is_one_line(mine, numbers, tmp_path):
    net, card, _ = mine
    weights = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("image_")}
    write_tensors(tmp_path / "n.safetensors", weights, {"format": NETWORK, **card, "normaliser": numbers})
    with pytest.raises(UserError, match=r"its card describes another network than its tensors"):
        load_network(tmp_path / "n.safetensors")


def test_timm_makes_the_network_of_a_folder(mine, tmp_path):
    net, card, pixels = mine
    write_timm(tmp_path, net, card)
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    told = plain.pretrained_cfg
    assert told["input_size"] == (3, 8, 8) and told["label_names"] == ["cat", "dog"] and plain.num_classes == 2
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(plain))
    ours = net(pixels)
    assert torch.equal(plain(normalised(pixels, told["mean"], told["std"])), ours)
    pictures = [Image.fromarray(image) for image in pixels.numpy().transpose(0, 2, 3, 1)]
    torch.testing.assert_close(plain(torch.stack([transform(picture) for picture in pictures])), ours)
    again, read = load_timm(timm_file(tmp_path))
    torch.testing.assert_close(again(pixels), ours)
    assert read["size"] == card["size"] and read["model"] == card["model"]


@models
def test_a_run_becomes_a_folder_for_timm(model, tmp_path):
    tiny = {"threads": 1, "device": "cpu", "batch_size": 16, "size": "32x1", "init": "scratch", "validation": False}
    vision.train(model=model, train_steps=3, run_dir=tmp_path / "run", **tiny)
    vision.export(tmp_path / "run", tmp_path / "timm", task="classification")
    assert {path.name for path in (tmp_path / "timm").iterdir()} == {"config.json", "model.safetensors"}
    plain = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8))
    told = plain.pretrained_cfg
    answers = plain(normalised(pixels, told["mean"], told["std"])).softmax(1)
    torch.testing.assert_close(answers, vision.classify(tmp_path / "run", pixels)["probabilities"])
    for words, says in (
        ({"task": "classification", "scheduler": "ddpm"}, "scheduler=ddpm: is for task=diffusion"),
        ({"task": "control"}, "unknown task 'control'"),
        ({}, "or with mode=export task=classification as a folder for timm"),
    ):
        with pytest.raises(UserError, match=says):
            vision.export(tmp_path / "run", tmp_path / "other", **words)
    with pytest.raises(UserError, match="exists already"):
        vision.export(tmp_path / "run", tmp_path / "timm", task="classification")
    assert not (tmp_path / "other").exists()

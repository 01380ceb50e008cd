"""timm's checkpoints as sources: networks of any size from weights that were trained elsewhere."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("timm", reason="the vision extra is not installed")
from timm.layers import resample_abs_pos_embed
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer, vit_tiny_patch16_224

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.options.command import compose
from weit_rl.training.checkpoint import load_network

RUN = {"threads": 1, "device": "cpu", "batch_size": 8, "init": "svd_bank", "channels": 3, "validation": False}
FULL = {"init_options": {"rank": 10_000}, "scaler_steps": 0, "train_steps": 0}  # templates as many as there can be
TOLD = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "input_size": [3, 8, 8]}


def timms(model, classes=10, width=32, depth=2, heads=2, patch=None, image_size=8):
    """Build a small network of timm's with random weights."""
    torch.manual_seed(0)
    if model == "vit":
        shape = {"embed_dim": width, "depth": depth, "num_heads": heads}
        net = VisionTransformer(image_size, patch or 4, num_classes=classes, **shape)
    else:
        dims, depths = [width // 8, width // 4, width // 2, width], [1, 1, depth, 1]
        options = {"use_grn": True, "ls_init_value": None, "patch_size": patch or 1}
        net = ConvNeXt(num_classes=classes, dims=dims, depths=depths, **options)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return net.eval()


def saved(net, folder, told=None):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), folder / "model.safetensors")
    if told:
        (folder / "config.json").write_text(json.dumps(told))
    return folder / "model.safetensors"


def trained(tmp_path, **options):
    """Train a run; return its network and its report."""
    report = vision.train(run_dir=tmp_path / "run", **{**RUN, **options})
    return load_network(tmp_path / "run" / "checkpoints" / "last.safetensors")[0], report


def normalised(pixels, told=TOLD):
    mean, std = (torch.tensor(told[name]).view(3, 1, 1) for name in ("mean", "std"))
    return (pixels.float() / 255 - mean) / std


def pictures(edge=8):
    return torch.randint(0, 256, (4, 3, edge, edge), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("model", "shape", "size"),
    [
        ("vit", {}, "32x2x16"),
        ("vit", {"width": 48, "depth": 3, "heads": 6, "patch": 2}, "48x3x8"),
        ("convnext", {"width": 64}, "64x2"),
    ],
)
def test_at_full_rank_the_same_size_is_the_same_network(model, shape, size, tmp_path):
    plain = timms(model, **shape)
    source = saved(plain, tmp_path / "theirs", {"pretrained_cfg": TOLD})
    net, report = trained(tmp_path, source=source, size=size, **FULL)
    assert report["model"] == model and report["init"] == "svd_bank"
    wanted = plain(normalised(pictures()))
    torch.testing.assert_close(net(pictures()), wanted, rtol=1e-5, atol=1e-5)
    assert wanted.std() > 0.01


@pytest.mark.parametrize(("model", "size", "init"), [("vit", "64x3x16", "svd_bank"), ("vit", "64x3x16", "ligo"),
                                                      ("vit", "16x1x16", "bot"), ("convnext", "96x3x8", "svd_bank"),
                                                      ("convnext", "32x1x8", "weight_selection")])  # fmt: skip
def test_other_sizes_are_made_and_trained(model, size, init, tmp_path):
    source = saved(timms(model, classes=7, width=32 if model == "vit" else 64), tmp_path / "theirs")
    net, report = trained(tmp_path, source=source.parent, size=size, init=init, scaler_steps=2, train_steps=2)
    assert (report["size"], report["model"]) == (size, model) and net(pictures()).shape == (4, 10)  # a fresh head


def test_a_plain_size_has_the_heads_of_its_source(tmp_path):
    source = saved(timms("vit", width=128), tmp_path / "theirs")
    _, report = trained(tmp_path, source=source, size="64x1", scaler_steps=0, train_steps=0)
    assert report["size"] == "64x1x64"


def test_the_hub_config_gives_what_the_weights_lack(tmp_path):
    told = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {**TOLD, "input_size": [3, 224, 224]}}
    source = saved(timms("vit", width=64, heads=1), tmp_path / "theirs", told)
    assert vit_tiny_patch16_224().blocks[0].attn.head_dim == 64
    with pytest.raises(UserError, match="has heads of 64 channels, this run asks for 32"):
        trained(tmp_path, source=source, size="64x2x32")


def test_positions_of_other_images_are_interpolated_as_timm_does(tmp_path):
    plain = timms("vit", classes=7)
    net, _ = trained(tmp_path, source=saved(plain, tmp_path / "theirs"), size="32x2x16", image_size=16, **FULL)
    wanted = resample_abs_pos_embed(plain.pos_embed, [4, 4])
    torch.testing.assert_close(net.pos_embed, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net.blocks[1].mlp.fc1.weight, plain.blocks[1].mlp.fc1.weight, rtol=1e-4, atol=1e-5)


def test_a_stopped_run_resumes_from_its_checkpoint(tmp_path, monkeypatch):
    source = saved(timms("vit"), tmp_path / "theirs")
    options = {"source": source, "size": "16x1x16", "scaler_steps": 3, "train_steps": 3}
    whole, _ = trained(tmp_path, **options)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("weit_rl.workflows.train_run.TrainRun.train", killed)
    with pytest.raises(BaseException, match="go on with"):
        vision.train(run_dir=tmp_path / "stopped", **{**RUN, **options})
    monkeypatch.undo()
    vision.main(compose("vision", [f"resume={tmp_path / 'stopped'}"]))
    again = load_network(tmp_path / "stopped" / "checkpoints" / "last.safetensors")[0]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["source=vit"], "made with patch_size=4 and channels=3, this run asks for patch_size=4 and channels=1"),
        (["source=vit", "channels=3", "patch_size=2"], "made with patch_size=4 and channels=3, this run asks for"),
        (["source=vit", "channels=3", "size=32x2x7"], "size.width=32: must be a positive multiple of head_dim 7"),
        (["source=vit", "channels=3", "model=convnext"], "was made for model=vit, this run asks for model=convnext"),
        (["source=vit", "channels=3", "init_options={rank: 0}"], "rank=0: must be an integer, 1 or more"),
        (["source=vit", "channels=3", "init=weit"], "or make one of a source by init=svd_bank"),
        (["source=odd", "channels=3", "size=64x2"], "48 channels wide, which heads of 64 do not divide"),
        (["source=text.safetensors"], "text.safetensors: not a whole weit_rl tensor file"),
        (["source=text.pth"], "text.pth: may be a pickle"),
        (["source=nothing.safetensors"], "nothing.safetensors: cannot read"),
        (["source=headless.safetensors"], "has no 'head.weight'"),
        (["source=other.safetensors"], "has no 'patch_embed.proj.weight'"),
        (["source=distilled.safetensors"], "another variant, dist_token is (1, 1, 32) there and None in ours"),
    ],
)
def test_a_wrong_checkpoint_is_one_line(refused, words, says):
    here = Path.cwd()
    saved(timms("vit"), here / "vit")
    saved(timms("vit", width=48, heads=6), here / "odd")
    state = timms("vit").state_dict()
    save_file({name: t for name, t in state.items() if not name.startswith("head")}, here / "headless.safetensors")
    save_file({"weight": torch.zeros(3)}, here / "other.safetensors")
    save_file(state | {"dist_token": torch.zeros(1, 1, 32)}, here / "distilled.safetensors")
    (here / "text.safetensors").write_text("no weights")
    (here / "text.pth").write_text("no weights")
    default = [] if any(word.startswith("size") for word in words) else ["size=32x2x16"]
    assert says in refused("vision", "init=svd_bank", "train_steps=0", "device=cpu", *default, *words)

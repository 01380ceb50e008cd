"""Diffusion in the latents of an autoencoder: encoded once, trained on, decoded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the vision extra is not installed")
from diffusers import AutoencoderKL

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.data.images import load_images
from weit_rl.options.command import compose
from weit_rl.tasks import image_options
from weit_rl.tasks.diffusion import Diffusion, DiffusionConfig
from weit_rl.tasks.latents import Latents
from weit_rl.tasks.sampling import SCHEDULERS, scheduler_of

RUN = {"task": "diffusion", "image_size": 16, "init": "scratch", "size": "32x1", "batch_size": 8, "device": "cpu"}
RUN |= {"threads": 1, "validation": False}


def small_autoencoder(channels=1, **options):
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    blocks |= {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 2, "sample_size": 16}
    return AutoencoderKL(channels, channels, **blocks | options).eval()


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """Make a small autoencoder; return its folder and it."""
    net = small_autoencoder(shift_factor=0.1, scaling_factor=3.0)
    folder = tmp_path_factory.mktemp("autoencoder") / "a b"
    net.save_pretrained(folder)
    return folder, net


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return load_images("digits", 16)


def test_latents_are_diffusers_own_and_decode_to_its_images(autoencoder, digits):
    folder, net = autoencoder
    space = Latents(digits, str(folder), flip=True)
    part, pixels = space.part("held_out"), torch.from_numpy(digits.held_out.pixels) / 127.5 - 1
    assert space.shape == (2, 8, 8) and len(part) == len(digits.held_out) and part is space.part("held_out")
    with torch.no_grad():
        wanted, turned = ((net.encode(x).latent_dist.mode() - 0.1) * 3 for x in (pixels, pixels.flip(-1)))
        images = net.decode(wanted / 3 + 0.1).sample
    which = torch.arange(len(part)) % 2 == 1
    torch.testing.assert_close(space.clean(part), wanted, rtol=2e-3, atol=2e-3)
    mixed = torch.where(which[:, None, None, None], turned, wanted)
    torch.testing.assert_close(space.clean(part, which), mixed, rtol=2e-3, atol=2e-3)
    again = space.decode(wanted)
    assert again.dtype == torch.uint8 and (again / 127.5 - 1 - images.clamp(-1, 1)).abs().max() < 0.01
    assert np.array_equal(part.labels, digits.held_out.labels)


def test_batches_are_noised_latents_and_nothing_is_clipped(autoencoder, digits):
    task = Diffusion(digits, DiffusionConfig(autoencoder=str(autoencoder[0]), batch_size=8, flip=True))
    batch = task.batch(3)
    assert batch["images"].shape == (8, 2, 8, 8) and task.build(Size(32, 1)).config.in_channels == 2
    assert all(torch.equal(batch[name], task.batch(3)[name]) for name in batch)
    kept = task.scheduler.alphas_cumprod[batch["timesteps"]].view(-1, 1, 1, 1)
    clean = (batch["images"] - (1 - kept).sqrt() * batch["noise"]) / kept.sqrt()
    part = task.space.part("train")
    both = torch.from_numpy(part.pixels).float().flatten(0, 1).flatten(1)
    away = torch.cdist(clean.flatten(1), both).min(1).values
    early = batch["timesteps"] < 800  # late ones are nearly noise alone
    assert early.any() and (away[early] < 0.05 * both.norm(dim=1).mean()).all()
    for name in SCHEDULERS:
        config = scheduler_of(name, task.scheduler).config
        assert not config.get("clip_sample") and not config.get("thresholding")


def test_a_run_in_latents_is_trained_scored_and_drawn_from(autoencoder, tmp_path, monkeypatch):
    options = {**RUN, "autoencoder": autoencoder[0], "train_steps": 4}
    report = vision.train(**options, run_dir=tmp_path / "run")
    assert report["psnr"] == pytest.approx(-10 * np.log10(report["loss"]))
    with monkeypatch.context() as where_there_are_no_images:
        where_there_are_no_images.setattr(image_options, "load_images", None)
        drawn = vision.generate(tmp_path / "run", classes=["3"], images=2, steps=3)["images"]
    assert drawn.shape == (2, 1, 16, 16) and drawn.dtype == np.uint8
    assert vision.evaluate(tmp_path / "run", checkpoint="last")["psnr"] == report["psnr"]
    assert vision.evaluate(tmp_path / "run", checkpoint="last", data="digits")["images"] == 359
    judge = {key: value for key, value in options.items() if key != "autoencoder"} | {"task": "classification"}
    vision.train(**judge, run_dir=tmp_path / "judge")
    asked = {"features": str(tmp_path / "judge"), "samples": 8, "steps": 2}
    assert vision.evaluate(tmp_path / "run", checkpoint="last", **asked)["fid"] > 0  # of decoded images
    with pytest.raises(UserError, match="only runs in pixels are exported"):
        vision.export(tmp_path / "run", tmp_path / "out")


@pytest.mark.slow
def test_a_stopped_run_in_latents_resumes(autoencoder, tmp_path, monkeypatch):
    options = {**RUN, "autoencoder": autoencoder[0], "train_steps": 3, "flip": True}
    vision.train(run_dir=tmp_path / "whole", **options)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("weit_rl.workflows.train_run.TrainRun.finish", killed)
    with pytest.raises(BaseException, match="go on with"):
        vision.train(run_dir=tmp_path / "stopped", **options)
    monkeypatch.undo()
    vision.main(compose("vision", [f"resume={tmp_path / 'stopped'}"]))
    last = Path("checkpoints") / "last.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "stopped" / last).read_bytes()


def test_a_bank_is_made_of_latents_and_serves_another_size(autoencoder, tmp_path):
    bank = {**RUN, "autoencoder": autoencoder[0], "size": "64x2", "widths": [32, 64], "depths": [1, 2], "rank": 4}
    bank = {key: value for key, value in bank.items() if key not in ("init", "validation")}
    vision.pretrain(**bank, steps=3, score_sizes=[], run_dir=tmp_path / "bank")
    options = {**RUN, "autoencoder": autoencoder[0], "init": "weit", "size": "96x3", "scaler_steps": 2}
    report = vision.train(
        **options, bank=tmp_path / "bank" / "bank.safetensors", train_steps=1, run_dir=tmp_path / "run"
    )
    assert report["size"] == "96x3" and np.isfinite(report["loss"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["autoencoder=nowhere"], "autoencoder=nowhere: cannot be read"),
        (["autoencoder=three"], "takes images of 3 channels, these have 1; give channels=3"),
        (["autoencoder=one", "image_size=15"], "needs an image_size that 2 divides, not 15"),
        (["autoencoder=pickled"], "pickled: cannot be read"),
        (["autoencoder=other"], "holds a VQModel, not an AutoencoderKL"),
        (["autoencoder=cut"], "cut: cannot be read"),
        (["recipe=imagenet"], "autoencoder: must be given"),
    ],
)
def test_a_wrong_autoencoder_is_one_line(refused, words, says):
    here = Path.cwd()
    for name, channels in (("one", 1), ("three", 3), ("cut", 1), ("pickled", 1), ("other", 1)):
        small_autoencoder(channels).save_pretrained(here / name, safe_serialization=name != "pickled")
    file = here / "cut" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    (here / "other" / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    assert says in refused("vision", "task=diffusion", "init=scratch", "image_size=16", "device=cpu", *words)

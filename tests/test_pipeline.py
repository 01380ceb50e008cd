"""Runs as pipelines of diffusers, and its schedulers: saved, loaded by stock classes, drawn from, alike by seed."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_diffusion import SMALL, Denoiser, task_of

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.tasks.sampling import NOISE_SCHEDULERS, SCHEDULERS, denoise, guided_noise, scheduler_of
from weit_rl.training.checkpoint import load_network
from weit_rl.training.loop import OptimizerRecipe, fit

diffusers = pytest.importorskip("diffusers", reason="needs the extra vision: pip install 'weit_rl[vision]'")

TINY = {"threads": 1, "device": "cpu", "batch_size": 16, "task": "diffusion", "size": "32x2", "init": "scratch"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    vision.train(**TINY, train_steps=12, train_lr=1e-2, validation=False, run_dir=folder)
    return folder


@pytest.fixture(scope="module")
def saved(run):
    vision.export(run, run / "pipeline")
    return run / "pipeline"


@pytest.fixture(scope="module")
def pipeline(saved):
    read = vision.PixelDiTPipeline.from_pretrained(saved)
    read.set_progress_bar_config(disable=True)
    return read


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_saved_pipeline_draws_what_the_run_draws(run, pipeline):
    drawn = vision.generate(run, classes=["3", "0"], images=2, steps=4, seed=0)["images"]
    images = pipeline(["3", "3", "0", "0"], generator=seeded(), num_inference_steps=4).images
    assert [image.size for image in images] == 4 * [(8, 8)] and images[0].mode == "L"
    assert np.array_equal(np.stack([np.asarray(image) for image in images]), drawn[:, 0])
    again = pipeline([3, 3, 0, 0], generator=seeded(), num_inference_steps=4, output_type="np").images
    assert again.shape == (4, 8, 8, 1) and np.abs(255 * again[..., 0] - drawn[:, 0]).max() <= 0.51
    other = pipeline(3, generator=seeded(1), num_inference_steps=4, output_type="pt", return_dict=False)[0]
    assert other.shape == (1, 1, 8, 8) and not np.allclose(other.numpy()[0, 0], again[0, ..., 0])


def test_its_folders_are_read_by_diffusers_own_classes(run, saved):
    assert {path.suffix for path in saved.rglob("*") if path.is_file()} == {".json", ".safetensors", ".md"}
    net, inputs = load_network(run / "checkpoints" / "last.safetensors")[0], small_batch()
    stock = diffusers.DiTTransformer2DModel.from_pretrained(saved, subfolder="transformer").eval()
    sines = stock(*inputs).sample
    stock.pos_embed.pos_embed.copy_(net.pos_embed.pos_embed.detach())
    torch.testing.assert_close(stock(*inputs).sample, net(*inputs))
    assert not torch.allclose(sines, net(*inputs))  # its positions were trained
    scheduler = diffusers.DDIMScheduler.from_pretrained(saved, subfolder="scheduler")
    assert scheduler.config.num_train_timesteps == 1000
    other = vision.PixelDiTPipeline(stock, diffusers.EulerDiscreteScheduler.from_config(scheduler.config))
    assert len(other([1, 2], num_inference_steps=3).images) == 2


@pytest.mark.parametrize("name", SCHEDULERS)
def test_all_schedulers_have_the_steps_of_the_training(name, tmp_path):
    assert scheduler_of(name, task_of(timesteps=20, sampling_steps=2).scheduler).config.num_train_timesteps == 20
    vision.train(**TINY, train_steps=1, timesteps=20, sampling_steps=2, validation=False, run_dir=tmp_path / "run")
    pipeline = vision.PixelDiTPipeline.from_run(tmp_path / "run", scheduler=name)
    assert pipeline.scheduler.config.num_train_timesteps == 20 and len(pipeline.scheduler.alphas_cumprod) == 20
    assert pipeline.scheduler.config.beta_end == 0.999 and pipeline.scheduler.alphas_cumprod[-1] < 1e-4
    with pytest.raises(UserError, match="steps=21: the network was trained with 20"):
        vision.generate(tmp_path / "run", steps=21, scheduler=name)


def small_batch():
    return torch.randn(3, 1, 8, 8), torch.tensor([0, 400, 999]), torch.tensor([0, 9, 10])


def test_a_pipeline_with_code_or_of_other_libraries_is_not_loaded(saved, tmp_path):
    told = json.loads((saved / "model_index.json").read_text())
    assert told["id2label"]["3"] == "3" and told["transformer"] == ["weit_rl.vision.pipeline", "PixelDiT"]
    (tmp_path / "model_index.json").write_text(json.dumps(told | {"scheduler": ["antigravity", "Apple"]}))
    with pytest.raises(UserError, match="its scheduler is of 'antigravity'; only diffusers"):
        vision.PixelDiTPipeline.from_pretrained(tmp_path)
    assert "antigravity" not in sys.modules
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "diffusers.py").write_text("raise SystemExit")
    with pytest.raises(UserError, match="has Python files in it"):
        vision.PixelDiTPipeline.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="no pipeline can be read there"):
        vision.PixelDiTPipeline.from_pretrained(tmp_path / "nowhere", local_files_only=True)


def test_bad_calls_are_refused(run, saved, pipeline):
    with pytest.raises(UserError, match="unknown class '10'"):
        pipeline([10])
    with pytest.raises(UserError, match="class_labels: none is named"):
        pipeline([])
    with pytest.raises(UserError, match="steps=0: must be 1 or more"):
        pipeline([1], num_inference_steps=0)
    with pytest.raises(UserError, match="steps=1001: the network was trained with 1000"):
        pipeline([1], num_inference_steps=1001)
    with pytest.raises(UserError, match="exists already"):
        vision.export(run, saved)
    with pytest.raises(UserError, match="unknown scheduler 'ddin'; did you mean ddim"):
        vision.export(run, run / "other", scheduler="ddin")
    assert not (run / "other").exists() and not list(run.glob(".weit_rl-*"))
    with pytest.raises(AttributeError, match="no attribute 'Pipeline'"):
        _ = vision.Pipeline


def test_importing_vision_is_light():
    code = "import sys, weit_rl.vision; print({'torch', 'diffusers', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_ends_at_the_image_that_was_asked_for(name):
    task, labels = task_of(), torch.tensor([1, 0, 1])
    images = torch.from_numpy(task.images.train.pixels[:2])
    net = Denoiser(images, task.scheduler.alphas_cumprod)
    drawn = task.sample(net, labels, steps=25, guidance=1, scheduler=name)
    assert drawn.shape == (3, 1, 8, 8) and drawn.dtype == torch.uint8
    assert (drawn.int() - images[labels].int()).abs().max() <= 2
    assert scheduler_of(name, task.scheduler).config.num_train_timesteps == 1000


def test_a_scheduler_repeats_by_seed_and_differs_from_others():
    task = task_of(batch_size=32)
    net, labels = task.build(SMALL), torch.arange(4) % 2
    fit(net, lambda step: task.loss(net, task.batch(step)), OptimizerRecipe(20, 1e-2, clip=1.0))
    drawn = {name: task.sample(net, labels, steps=5, scheduler=name) for name in SCHEDULERS}
    for name, images in drawn.items():
        assert torch.equal(images, task.sample(net, labels, steps=5, scheduler=name))
        assert not torch.equal(images, task.sample(net, labels, steps=5, scheduler=name, seed=1))
        assert all(not torch.equal(images, drawn[other]) for other in SCHEDULERS if other != name)
    with pytest.raises(UserError, match=r"unknown scheduler 'dpm'.*dpmsolver\+\+"):
        task.sample(net, labels, scheduler="dpm")


def test_diffusers_reads_it_by_its_own_name_once_the_module_is_imported(saved, pipeline):
    read = diffusers.DiffusionPipeline.from_pretrained(saved)
    read.set_progress_bar_config(disable=True)
    assert type(read) is vision.PixelDiTPipeline
    drawn = [one([3], generator=seeded(), num_inference_steps=3, output_type="np").images for one in (read, pipeline)]
    assert np.array_equal(*drawn)


def test_the_readme_beside_it_says_how_it_is_read(saved):
    text = (saved / "README.md").read_text()
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ") and "pip install" not in line]
    code, names = (
        "\n".join(lines).replace("FOLDER", str(saved)).replace("num_inference_steps=20", "num_inference_steps=2"),
        {},
    )
    exec(code, names)
    assert type(names["pipeline"]) is vision.PixelDiTPipeline and lines[-1].startswith("pipeline([0, 1]")


class Smooth(Denoiser):
    """Knows what to answer between the time steps of training, too, as a network does."""

    def forward(self, x, times, labels):
        sigma = ((1 - self.alphas) / self.alphas).sqrt().numpy()
        there = np.interp(times.double().numpy(), np.arange(len(sigma)), sigma)
        share = torch.from_numpy(1 / (1 + there**2)).float().view(-1, 1, 1, 1)
        return (x - share.sqrt() * self.images[labels]) / (1 - share).sqrt()


@pytest.mark.parametrize("name", NOISE_SCHEDULERS)
@pytest.mark.parametrize("steps", [5, 25])
def test_the_schedulers_for_noise_end_at_the_image_that_was_asked_for(name, steps):
    if name == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    task, labels = task_of(), torch.tensor([1, 0, 1])
    images = torch.from_numpy(task.images.train.pixels[:2])
    net = Smooth(images, task.scheduler.alphas_cumprod)
    scheduler = getattr(diffusers, name).from_config(task.scheduler.config)
    noise, start = guided_noise(net, labels, 2, 1), torch.randn(3, 1, 8, 8, generator=seeded(1))
    drawn = denoise(noise, scheduler, start, steps, seeded())
    assert (task.space.decode(drawn).int() - images[labels].int()).abs().max() <= 4
    assert drawn.abs().max() < 1.05


OTHERS = ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "EDMEulerScheduler", "IPNDMScheduler"]
OTHERS += ["LCMScheduler", "DDIMInverseScheduler", "UnCLIPScheduler", "CMStochasticIterativeScheduler"]


@pytest.mark.parametrize("name", OTHERS)
def test_schedulers_of_other_networks_are_refused(pipeline, name):
    says = f"^scheduler {name}: the network predicts noise, .* use DDIMScheduler, [^\n]*$"
    with pytest.raises(UserError, match=says):
        vision.PixelDiTPipeline(pipeline.transformer, getattr(diffusers, name)())


def test_schedulers_that_expect_something_else_are_refused(pipeline):
    first = pipeline.scheduler
    others = {
        "prediction_type=v_prediction": diffusers.DDIMScheduler.from_config(
            first.config, prediction_type="v_prediction"
        ),
        "expects other noise": diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        "EulerDiscreteScheduler: expects other noise": diffusers.EulerDiscreteScheduler(num_train_timesteps=20),
        "the network predicts noise": diffusers.FlowMatchEulerDiscreteScheduler(),
    }
    try:
        for says, pipeline.scheduler in others.items():
            with pytest.raises(UserError, match=says):
                pipeline([1], num_inference_steps=2)
    finally:
        pipeline.scheduler = first


def test_images_that_are_not_finite_are_refused(pipeline):
    for name in ("UniPCMultistepScheduler", "DEISMultistepScheduler", "SASolverScheduler"):
        scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
        with pytest.raises(UserError, match=f"steps=1000: scheduler={name} needs fewer steps than training had"):
            vision.PixelDiTPipeline(pipeline.transformer, scheduler)([1], num_inference_steps=1000)
    with pytest.raises(UserError, match="steps=2: DDIMScheduler makes images that are not finite"):
        denoise(lambda x, t: x * float("nan"), pipeline.scheduler, torch.zeros(1, 1, 8, 8), 2)

"""FID, KID, precision and recall: what they are of sets with known answers, and of a run's images."""

import hashlib
import io
import json

import numpy as np
import pytest
import torch

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.tasks import inception
from weit_rl.tasks.sample_quality import compare_features, coverage, frechet_distance

for library in ("torchmetrics", "timm", "diffusers"):
    pytest.importorskip(library, reason="needs the extra vision: pip install 'weit_rl[vision]'")

TINY = {"threads": 1, "device": "cpu", "batch_size": 16, "size": "32x1", "init": "scratch", "train_steps": 4}


def normal(count, seed, mean=0.0, scales=(1.0, 1.0, 1.0, 1.0)):
    drawn = torch.randn(count, len(scales), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn * torch.tensor(scales, dtype=torch.float64) + mean


def test_a_set_against_itself():
    same = compare_features(normal(500, 0), normal(500, 0))
    assert same["fid"] == pytest.approx(0, abs=1e-6) and same["precision"] == same["recall"] == 1
    assert -0.1 < same["kid"] < 0  # unbiased between two draws, and this is one


def test_fid_of_two_gaussians_is_the_closed_form():
    scales = (1.0, 2.0, 0.5, 3.0)
    numbers = frechet_distance(normal(20_000, 0), normal(20_000, 1, mean=1.5, scales=scales))
    # |mean|^2 + sum of (s - t)^2 for covariances that share their axes
    assert numbers["fid"] == pytest.approx(4 * 1.5**2 + sum((s - 1) ** 2 for s in scales), rel=0.03)


def test_kid_of_two_draws_of_one_distribution_is_about_zero_whatever_their_number():
    near = compare_features(normal(800, 0), normal(500, 1))
    assert abs(near["kid"]) < 0.02 and near["fid"] < 0.05 and min(near["precision"], near["recall"]) > 0.9
    far = compare_features(normal(300, 0), normal(300, 1, mean=3))
    assert far["kid"] > 100 * abs(near["kid"]) and far["kid"] > 1


def test_precision_and_recall_of_distant_sets_and_of_a_subset():
    far = compare_features(normal(100, 0), normal(100, 1, mean=50))
    assert far["precision"] == far["recall"] == 0
    modes = torch.cat([normal(200, 0), normal(200, 1, mean=50)])
    part = compare_features(modes, normal(200, 2))  # good images, but of one half alone
    assert part["precision"] > 0.9 and 0.4 < part["recall"] < 0.5


def test_reach_is_the_distance_of_the_third_neighbour():
    line = torch.arange(8.0, dtype=torch.float64)[:, None]
    assert coverage(torch.tensor([[9.9], [10.1]], dtype=torch.float64), line) == 0.5  # 7 reaches to 4, and to 10
    assert coverage(torch.tensor([[8.9], [9.1]], dtype=torch.float64), line, nearest=2) == 0.5


def test_numbers_do_not_depend_on_earlier_work(monkeypatch):
    monkeypatch.setattr("weit_rl.tasks.sample_quality.SUBSET", 50)
    numbers = compare_features(normal(100, 0), normal(100, 1))
    state = torch.random.get_rng_state()
    assert numbers == compare_features(normal(100, 0), normal(100, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    assert numbers == compare_features(normal(100, 0), normal(100, 1))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    vision.train(**TINY, task="diffusion", run_dir=folder / "drawer")
    vision.train(**TINY, data_images=200, run_dir=folder / "classifier")
    return folder


def test_a_run_is_compared_with_its_test_images(runs, capsys):
    options = {"checkpoint": "last", "features": str(runs / "classifier"), "samples": 40, "steps": 2}
    report = vision.evaluate(runs / "drawer", **options)
    assert report["samples"] == 40 and report["images"] == 359 and report["features"] == "vit 32x1 of digits"
    assert report["fid"] > 0 and 0 <= report["precision"] <= 1 and 0 <= report["recall"] <= 1 and report["loss"] > 0
    shown = capsys.readouterr().out
    assert "by the features of vit 32x1 of digits" in shown and "KID (x 1000)" in shown
    written = json.loads((runs / "drawer" / "evaluation-last-digits.json").read_text())
    assert written["kid"] == report["kid"] and written["scheduler"] == "ddim" and written["sampling_steps"] == 2
    again = vision.evaluate(runs / "drawer", **options)
    assert {name: again[name] for name in report} == report


@pytest.mark.parametrize(
    ("run", "options", "says"),
    [
        ("drawer", {"features": "drawer"}, "is not of task=classification"),
        ("classifier", {"features": "classifier"}, "is for task=diffusion, and this is task=classification"),
        ("drawer", {"features": "classifier", "samples": 3}, "samples: 3 images are too few to compare, 4 or more"),
        ("drawer", {"features": "classifier", "scheduler": "ddmp"}, "unknown scheduler 'ddmp'; did you mean ddpm"),
    ],
)
def test_bad_input_is_refused(runs, run, options, says):
    before = {path for path in runs.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=says):
        vision.evaluate(runs / run, checkpoint="last", **options | {"features": str(runs / options["features"])})
    assert {path for path in runs.rglob("*") if path.is_file()} == before


def test_a_classifier_of_other_images_does_not_fit(runs, tmp_path):
    vision.train(**TINY, image_size=16, run_dir=tmp_path / "larger")
    with pytest.raises(UserError, match=r"features=.*larger: images of 1x8x8: this network takes 1x16x16"):
        vision.evaluate(runs / "drawer", checkpoint="last", features=str(tmp_path / "larger"))


@pytest.mark.parametrize("model", ["vit", "convnext"])
def test_features_are_the_inputs_of_the_last_layer(model):
    from weit_rl.common.sizes import Size
    from weit_rl.models import MODELS
    from weit_rl.tasks.sample_quality import ClassifierFeatures

    torch.manual_seed(0)
    net = MODELS.get(model).build(Size(32, 1), image_size=16, channels=3, classes=4).eval()
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8))
    head, logits = net.get_classifier(), net(images)
    features = ClassifierFeatures(net)(images)
    assert features.shape == (5, 32) and features.dtype == torch.float64
    torch.testing.assert_close(head(features.float()), logits)


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Write a file of random weights for Inception, under the name that its checksum gives it."""
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs the extra vision")
    network = extractor.FeatureExtractorInceptionV3
    with monkeypatch.context() as without:
        without.setattr(network, "load_state_dict", lambda *_: None)
        without.setattr(extractor, "load_state_dict_from_url", lambda *_, **__: None)
        torch.manual_seed(0)
        state = network("drawn", ["2048"]).state_dict()
    data = io.BytesIO()
    torch.save(state, data)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "FILE", f"inception-{hashlib.sha256(data.getvalue()).hexdigest()[:8]}.pth")
    path = inception.weights_path()
    path.parent.mkdir()
    path.write_bytes(data.getvalue())
    return path, state


def test_inception_judges_where_its_weights_are(published, runs):
    _, state = published
    found = inception.Inception()
    assert all(torch.equal(found.net.state_dict()[name], tensor) for name, tensor in state.items())
    grey = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    features = found(grey)
    assert features.shape == (2, 2048) and features.dtype == torch.float64 and features.std() > 0
    assert torch.equal(features, found(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(UserError, match="1 or 3 channels, these have 2"):
        found(torch.zeros(2, 2, 8, 8, dtype=torch.uint8))


def test_only_the_published_weights_are_read(published, runs):
    path, _ = published
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not the published file, by its checksum; put https://"):
        vision.evaluate(runs / "drawer", checkpoint="last", features="inception")
    path.unlink()
    with pytest.raises(UserError, match=r"cannot read \(No such file or directory\); put https://"):
        vision.evaluate(runs / "drawer", checkpoint="last", features="inception")

"""The classification task: batches, loss, evaluation, calibration, and that networks learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.data.images import Images, load_images
from weit_rl.data.images.parts import ImagesInMemory
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.models import models_of
from weit_rl.tasks import calibration
from weit_rl.tasks.augmentation import Augment, Augmentation
from weit_rl.tasks.classification import Classification, ClassificationConfig
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.loop import OptimizerRecipe as Fitting
from weit_rl.training.loop import fit
from weit_rl.training.pretraining import MaskedLoss

for library in ("timm", "torchvision", "sklearn"):
    pytest.importorskip(library, reason="needs the extra vision: pip install 'weit_rl[vision]'")

SMALL = Size(32, 1, 16)
models = pytest.mark.parametrize("model", models_of("classification"))
AUGMENTED = {
    "crop_padding": 1,
    "crop_scale": 0.3,
    "flip": True,
    "randaugment": 2,
    "mixup": 0.4,
    "cutmix": 1.0,
    "erase": 0.5,
}


def noise(count=50, classes=4, size=8, channels=3):
    """Draw images of noise, with labels in turn."""
    rng = np.random.default_rng(0)

    def part(n):
        return ImagesInMemory(rng.integers(0, 256, (n, channels, size, size), dtype=np.uint8), np.arange(n) % classes)

    return Images("noise", tuple("abcdefgh"[:classes]), part(count), part(20), part(20), "none")


def task_of(images=None, **options):
    return Classification(images or noise(), ClassificationConfig(**{"batch_size": 16, **options}))


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in ("images", "labels"))


@pytest.mark.parametrize("options", [{}, AUGMENTED], ids=["plain", "augmented"])
def test_a_step_always_has_the_same_batch(options):
    task, before = task_of(**options), torch.random.get_rng_state()
    batches = [task.batch(step) for step in range(6)]
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    again = task_of(**options)
    assert all(same(again.batch(step), batches[step]) for step in (5, 0, 3))
    assert not same(task_of(seed=1, **options).batch(0), batches[0])
    assert len({batch["images"].numpy().tobytes() for batch in batches}) == 6


def test_an_epoch_shows_every_image_once():
    task = task_of()  # 50 images, so the fourth batch lies in two epochs
    shown = torch.cat([task.batch(step)["images"] for step in range(25)])  # eight epochs of 50
    for epoch in shown.split(50):
        assert {x.numpy().tobytes() for x in epoch} == {x.tobytes() for x in task.images.train.pixels}
    assert not torch.equal(shown[:50], shown[50:100])
    everything = task_of(batch_size=120).batch(0)
    assert everything["images"].shape == (120, 3, 8, 8) and everything["labels"].shape == (120,)


def test_labels_stay_with_their_images():
    images = noise()
    batch = task_of(images, batch_size=50).batch(0)
    labels = {x.tobytes(): y for x, y in zip(images.train.pixels, images.train.labels, strict=True)}
    assert [labels[x.numpy().tobytes()] for x in batch["images"]] == batch["labels"].tolist()


def test_small_images_are_shifted_on_request_only():
    images = noise(size=16)
    batch, plain = task_of(images).batch(0)["images"], task_of(images, crop_padding=0).batch(0)["images"]
    assert batch.shape == plain.shape and not torch.equal(batch, plain)
    assert torch.equal(task_of().batch(0)["images"], task_of(crop_padding=0).batch(0)["images"])


def test_flips_mirror_half_of_the_images():
    plain, flipped = (task_of(flip=flip, batch_size=50).batch(0)["images"] for flip in (False, True))
    turned = [not torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    assert 10 < sum(turned) < 40
    assert all(torch.equal(b, a.flip(-1) if t else a) for a, b, t in zip(plain, flipped, turned, strict=True))


def test_mixup_mixes_images_and_labels_alike():
    plain, mixed = task_of(), task_of(mixup=0.4)
    one, both = plain.batch(2), mixed.batch(2)
    pixels, labels = one["images"] / 255, F.one_hot(one["labels"], 4).float()
    share = float(both["labels"].max(1).values.min())  # of a pair of two classes: this much of one or of the other
    shares = torch.tensor([share, 1 - share]).view(2, 1, 1, 1, 1)
    mixed_pixels = shares * pixels + (1 - shares) * pixels.roll(1, 0)
    own = shares.flatten()[(mixed_pixels - both["images"]).abs().flatten(1).amax(1).argmin()]
    torch.testing.assert_close(both["images"], own * pixels + (1 - own) * pixels.roll(1, 0))
    torch.testing.assert_close(both["labels"], own * labels + (1 - own) * labels.roll(1, 0))


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_loss_is_cross_entropy_against_smoothed_labels(mixup):
    task = task_of(label_smoothing=0.1, mixup=mixup)
    net, batch = task.build(SMALL), task.batch(0)
    labels = batch["labels"] if mixup else F.one_hot(batch["labels"], 4).float()
    targets = 0.9 * labels + 0.1 / 4
    wanted = -(targets * net(batch["images"]).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(task.loss(net, batch), wanted)


def test_the_network_has_the_training_images_normaliser():
    task = task_of()
    net, pixels = task.build(SMALL), task.images.train.pixels / 255
    np.testing.assert_allclose(net.image_mean.flatten(), pixels.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(net.image_std.flatten(), pixels.std((0, 2, 3)), rtol=1e-5)
    one, other = (dict(task.build(SMALL, seed).named_parameters()) for seed in (3, 3))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["head.weight"], task.build(SMALL, 4).head.weight)


def test_a_channel_without_contrast_is_not_blown_up():
    images = noise()
    images.train.pixels[:, 1] = 7
    assert task_of(images).build(SMALL).image_std[1] == 1


@models
def test_a_card_is_enough_to_build_the_network_and_name_its_answers(model, tmp_path):
    task = task_of(model=model, model_options={"drop_path": 0.1})
    net, card = task.build(SMALL).eval(), task.card(SMALL)
    save_network(tmp_path / "net.safetensors", net, card)
    again, read = load_network(tmp_path / "net.safetensors")
    assert (read["task"], read["data"], read["classes"]) == ("classification", "noise", list("abcd"))
    assert torch.equal(again(task.batch(0)["images"]), net(task.batch(0)["images"]))


class Oracle(torch.nn.Module):
    """Knows the labels of a part; puts the right class first, second or last."""

    def __init__(self, part, classes, ranks):
        super().__init__()
        self.answers = {x.tobytes(): (y, rank) for x, y, rank in zip(part.pixels, part.labels, ranks, strict=True)}
        self.classes = classes

    def forward(self, images):
        logits = torch.arange(self.classes, 0.0, -1).repeat(len(images), 1)
        for row, image in zip(logits, images, strict=True):
            label, rank = self.answers[image.numpy().tobytes()]
            order = [c for c in range(self.classes) if c != label]
            order.insert(rank, int(label))
            row[order] = row.clone()
        return logits


def test_evaluation_counts_the_first_and_the_first_five():
    images = noise(classes=8)
    task, ranks = task_of(images), [0] * 10 + [1] * 4 + [4] * 2 + [5] * 4
    result = task.evaluate(Oracle(images.test, 8, ranks), episodes=3, seed=1)
    assert (result["accuracy"], result["top5"], result["images"]) == (50, 80, 20)
    logits = task.predict(Oracle(images.test, 8, ranks))[0]
    assert result["loss"] == pytest.approx(float(F.cross_entropy(logits, torch.from_numpy(images.test.labels))))
    assert task.evaluate(Oracle(images.held_out, 8, [0] * 20), part="held_out")["accuracy"] == 100
    with pytest.raises(UserError, match="unknown part of the images 'tset'; did you mean test"):
        task.evaluate(torch.nn.Identity(), part="tset")


def test_validation_is_of_held_out_images_as_they_are_and_draws_nothing():
    task = task_of(label_smoothing=0.5, model_options={"dropout": 0.5, "drop_path": 0.2}, batch_size=20, **AUGMENTED)
    net = task.build(SMALL)
    labels = torch.from_numpy(task.images.held_out.labels)
    wanted = float(F.cross_entropy(task.predict(net, "held_out")[0], labels))  # a batch holds all of them
    assert task.validation_loss(net, 2) == pytest.approx(wanted, rel=1e-5) and net.training
    assert task.evaluate(net) == task.evaluate(net)


def test_dropout_is_for_training_alone():
    task = task_of(model_options={"dropout": 0.5})
    net, batch = task.build(Size(32, 2)), task.batch(0)
    assert not torch.equal(task.loss(net, batch), task.loss(net, batch))


@models
def test_networks_learn_the_digits(model, digits):
    task = Classification(digits, ClassificationConfig(model=model, batch_size=32))
    net = task.build(Size(32, 1))
    before, was = task.validation_loss(net), task.evaluate(net, part="held_out")["accuracy"]
    fit(net, lambda step: task.loss(net, task.batch(step)), Fitting(80, 1e-2, clip=1.0))
    assert task.validation_loss(net) < 0.8 * before
    assert task.evaluate(net, part="held_out")["accuracy"] > was + 20


@models
def test_a_bank_is_pretrained_and_starts_another_size(model, digits):
    """Go all the way of the workflows in a few steps: masked steps, scaler stage, plain network."""
    task = Classification(digits, ClassificationConfig(model=model, batch_size=8, tile=16))
    full, bank = Size(64, 2), TemplateBank.from_plan(task.plan, 4)
    net = WeiT(task.build(full), bank, task.plan)
    fit(net, MaskedLoss(net, task, SizeSampler([32, 64], [1, 2], full)), Fitting(3))
    bank.source = {f"own.{key}": value.detach() for key, value in net.own().items()}
    bank.source |= {f"buffer.{name}": value for name, value in net.net.named_buffers()}
    bank.card |= {"size": [64, 2, 32], "sizes_sampled": ["32x1", "64x2"]}
    source = TrainedSource(net.materialize(), bank)
    for size in (Size(32, 3), Size(96, 2)):
        context = Context(task.plan, lambda net, step: task.loss(net, task.batch(step)), fit, Fitting(2, None),
                          head_dim=32, build=task.build, run=task.run)  # fmt: skip
        target = task.build(size)
        target.load_state_dict(INITIALIZERS.get("weit").make(source, target, context))
        assert task.evaluate(target)["images"] == 359 and context.spent["steps"] == 2


def test_the_number_of_training_images_can_be_limited(digits):
    few = Classification(digits, ClassificationConfig(data_images=100))
    assert len(few.images.train) == 100 and len(few.images.test) == 359


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "dt"}, "unknown model of images 'dt'.*vit"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: must be from 0 to less than 1"),
        ({"mixup": -1.0}, "mixup=-1.0: must be 0 or more"),
        ({"magnitude": 31}, "magnitude=31: must be from 0 to 30"),
        ({"data_images": 51}, "data_images=51: noise has 50"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        task_of(**options)


def test_augmentation_is_torchvisions():
    images, labels = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8), torch.zeros(6, dtype=torch.long)
    shifted, _ = Augment(Augmentation(crop_padding=2), 8, 2)(images, labels, 0)
    padded = F.pad(images, (2, 2, 2, 2))
    places = [(i, j) for i in range(5) for j in range(5)]
    assert all(
        any(torch.equal(x, p[:, i : i + 8, j : j + 8]) for i, j in places) for x, p in zip(shifted, padded, strict=True)
    )
    changed, _ = Augment(Augmentation(crop_padding=0, randaugment=2), 8, 2)(images, labels, 0)
    assert changed.dtype == torch.uint8 and not torch.equal(changed, images)


def test_calibration_is_measured_by_bins_of_confidence():
    confidence = torch.tensor([0.65, 0.65, 0.65, 0.65, 0.95, 0.95])
    right = torch.tensor([1, 1, 0, 0, 1, 1])
    logits = torch.stack([confidence, 1 - confidence], 1).log()
    mean, accuracy, count = calibration.reliability(logits, 1 - right)
    assert count.tolist() == [0] * 6 + [4, 0, 0, 2]
    assert mean[6] == pytest.approx(0.65) and accuracy[6] == 0.5 and accuracy[9] == 1
    assert calibration.calibration_error(logits, 1 - right) == pytest.approx((4 * 0.15 + 2 * 0.05) / 6)
    matrix = calibration.confusion_matrix(logits, 1 - right)
    assert matrix.tolist() == [[4, 0], [2, 0]]


def test_pictures_of_calibration_are_drawn():
    logits, labels = torch.randn(40, 3), torch.arange(40) % 3
    matrix = calibration.confusion_matrix(logits, labels)
    assert matrix.sum() == 40
    for picture in (calibration.draw_confusion(matrix, list("abc")), calibration.draw_reliability(logits, labels)):
        assert picture.startswith(b"\x89PNG")


def test_recipes_are_options_of_the_task():
    assert isinstance(replace(ClassificationConfig(), **AUGMENTED), Augmentation)

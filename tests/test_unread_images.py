"""Images that do not fit in memory: decoded when they are needed, by workers ahead of time, and still the same ones."""

import numpy as np
import pytest
import torch
from test_images import picture, tree, write

pytest.importorskip("timm", reason="the vision extra is not installed")

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.data.images import decode, load_images
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand
from weit_rl.data.prefetch import Prefetcher, prefetched
from weit_rl.options.command import compose
from weit_rl.tasks.classification import Classification, ClassificationConfig
from weit_rl.tasks.diffusion import Diffusion, DiffusionConfig

SHAPE = {"image_size": 8, "channels": 3}
AUGMENTED = {"flip": True, "randaugment": 2, "crop_scale": 0.3, "mixup": 0.4}
TASKS = {
    "classification": lambda images, **options: Classification(images, ClassificationConfig(**AUGMENTED | options)),
    "diffusion": lambda images, **options: Diffusion(images, DiffusionConfig(flip=True, **options)),
}


@pytest.fixture(params=["set", "set.zip"])
def data(request, tmp_path):
    return write(tmp_path / request.param, tree(count=20))


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(decode, "MOST_BYTES", 1000)


@pytest.fixture
def both(data, monkeypatch):
    """Return the same set in memory and unread."""
    read = load_images(data, **SHAPE)
    monkeypatch.setattr(decode, "MOST_BYTES", 1000)
    return read, load_images(data, **SHAPE)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_set_is_the_same_unread(both):
    read, unread = both
    assert (unread.channels, unread.image_size, unread.classes) == (3, 8, read.classes)
    for name in ("train", "held_out", "test"):
        one, other = getattr(read, name), getattr(unread, name)
        assert isinstance(one, ImagesInMemory) and isinstance(other, ImagesOnDemand) and one.shape == other.shape
        again = other.read(np.arange(len(other)))
        assert np.array_equal(one.pixels, again.pixels) and np.array_equal(one.labels, again.labels)
        assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(read.drawn(9).train.pixels, unread.drawn(9).train.read(np.arange(9)).pixels)
    assert all(np.array_equal(a, b) for a, b in zip(read.statistics(), unread.statistics(), strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_batches_and_metrics_do_not_depend_on_memory_or_workers(both, task):
    read, unread = both
    tasks = [TASKS[task](*each, batch_size=7) for each in ((read,), (unread,))]
    tasks.append(TASKS[task](unread, batch_size=7, workers=2))
    for step in (0, 1, 2, 2, 5, 6, 1):  # in turn, repeated, and as a resumed run asks
        batches = [one.batch(step) for one in tasks]
        assert same(batches[0], batches[1]) and same(batches[0], batches[2])
    net = tasks[0].build(Size(32, 1))
    scores = [one.evaluate(net) for one in tasks]
    assert scores[0] == scores[1] == scores[2] and scores[0]["images"] == 40


@pytest.mark.slow
def test_a_stopped_run_on_unread_images_resumes(data, small_memory, tmp_path, monkeypatch):
    options = {**SHAPE, "data": data, "init": "scratch", "size": "32x1", "train_steps": 6, "batch_size": 7}
    options |= {"workers": 2, "validation": False, "threads": 1, "device": "cpu"}
    vision.train(run_dir=tmp_path / "whole", **options)
    work, stop = Classification.loss, iter(range(5))
    # the first is spent on counting FLOPs
    monkeypatch.setattr(Classification, "loss", lambda *args: (next(stop, None) is not None or _stop()) and work(*args))
    with pytest.raises(BaseException, match="go on with"):
        vision.train(run_dir=tmp_path / "stopped", **options)
    monkeypatch.undo()
    monkeypatch.setattr(decode, "MOST_BYTES", 1000)
    vision.main(compose("vision", [f"resume={tmp_path / 'stopped'}"]))
    one, other = (tmp_path / name / "checkpoints" / "last.safetensors" for name in ("whole", "stopped"))
    assert one.read_bytes() == other.read_bytes()


def _stop():
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:left out as corrupt. 1 of :UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_named_when_it_comes_and_left_out_on_request(small_memory, tmp_path, workers):
    whole = picture(1, kind="JPEG")
    files = tree() | {"train/cat/a.jpg": whole[: len(whole) // 2], "test/dog/b.jpg": b"no image"}
    place = write(tmp_path / "set", files)
    task = TASKS["classification"](load_images(place, **SHAPE), batch_size=19, workers=workers)
    with pytest.raises(UserError, match=r"^image [^\n]*/a\.jpg: cannot be read [^\n]*skip_corrupt=true$"):
        [task.batch(step) for step in range(2)]
    images = load_images(place, skip_corrupt=True, **SHAPE)
    task = TASKS["classification"](images, batch_size=len(images.train), workers=workers)
    assert len(task.batch(0)["images"]) == len(images.train) - 1 == 18
    assert task.evaluate(task.build(Size(32, 1)))["images"] == 20  # of 21


def test_a_large_set_needs_a_shape(data, small_memory):
    for options in ({}, {"image_size": 8}, {"channels": 3}):
        with pytest.raises(UserError, match="are held in memory; give image_size and channels"):
            load_images(data, **options)


def test_prefetched_batches_come_in_order():
    made = list(prefetched(lambda number: torch.tensor(number), range(3, 9), 2))
    assert [int(number) for number in made] == [3, 4, 5, 6, 7, 8]
    ahead = Prefetcher(lambda step: np.full(3, step), 2)
    assert [int(ahead(step)[0]) for step in (4, 5, 5, 6, 0, 1)] == [4, 5, 5, 6, 0, 1]

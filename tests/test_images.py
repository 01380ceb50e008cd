"""Labelled images: what every kind of source gives, how it is split, and what is wrong with a file."""

import io
import re
import sys
import types
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from weit_rl.common.errors import UserError
from weit_rl.data.images import SOURCES, Images, decode, folder, load_images
from weit_rl.data.images.parts import ImagesInMemory

PLACES = ("train", "val", "test")  # folders of a set


def picture(seed=0, size=(10, 10), mode="RGB", kind="PNG"):
    """Return the bytes of an image of noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def tree(parts=("train/", "test/"), classes=("cat", "dog"), count=10):
    """Return files by their paths."""
    return {
        f"{part}{name}/{i}.png": picture(zlib.crc32(f"{part}{name}{i}".encode()))
        for part in parts
        for name in classes
        for i in range(count)
    }


def write(path, files):
    """Write files as a folder, or as an archive where the path says so; returns the path as text."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return str(path)


def refuse(says, data, **options):
    with pytest.raises(UserError, match=says) as error:
        load_images(data, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(params=["set", "set.zip"])
def place(request, tmp_path):
    return tmp_path / request.param


def test_digits_are_the_default_and_split_alike_every_time():
    pytest.importorskip("sklearn")
    one, other = load_images(), load_images("digits")
    assert one.name == "digits" and one.classes == tuple("0123456789") and "CC BY" in one.licence
    assert one.train.pixels.shape == (1295, 1, 8, 8) and one.train.pixels.max() == 255
    assert (len(one.held_out), len(one.test)) == (143, 359)
    for name in ("train", "held_out", "test"):
        a, b = getattr(one, name), getattr(other, name)
        assert np.array_equal(a.pixels, b.pixels) and np.array_equal(a.labels, b.labels)
        assert a.pixels.dtype == np.uint8 and a.labels.dtype == np.int64
        assert np.bincount(a.labels).min() > 0.8 * len(a) / 10  # of every class as many
    mean, std = one.statistics()
    flat = one.train.pixels / 255
    assert mean.shape == std.shape == (1, 1, 1)
    np.testing.assert_allclose([mean.item(), std.item()], [flat.mean(), flat.std()], rtol=1e-5)


def test_images_are_brought_to_a_size_and_to_channels():
    pytest.importorskip("sklearn")
    large = load_images("digits", image_size=16, channels=3)
    assert (large.channels, large.image_size) == (3, 16)
    assert np.array_equal(large.train.pixels[:, 0], large.train.pixels[:, 2])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_pictures_of_16_bits_keep_their_brightness(kind, tmp_path):
    shades = np.array([[0, 257, 1000], [20_000, 33_000, 40_000], [50_000, 65_000, 65_535]], np.uint16)
    file = io.BytesIO()
    Image.fromarray(shades).save(file, kind)
    name = {"PNG": "x.png", "TIFF": "x.tif", "PPM": "x.pgm"}[kind]
    data = write(tmp_path / "set", {f"{part}/{c}/{name}": file.getvalue() for part in PLACES for c in "ab"})
    assert load_images(data).test.pixels[0].tolist() == [np.rint(shades / 257).tolist()]
    assert load_images(data, channels=3).test.pixels[0, 2].tolist() == np.rint(shades / 257).tolist()


def test_pictures_of_an_unknown_range_are_refused(tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=np.float32)).save(file, "TIFF")
    data = write(tmp_path / "set", {f"train/{c}/x.tif": file.getvalue() for c in "ab"})
    refuse("x.tif: cannot be read .its pixels are neither of 8 nor of 16 bits", data)


def test_a_smaller_draw_lies_within_a_larger_one(place):
    images = load_images(write(place, tree(count=20)))
    few, more = images.drawn(5).train, images.drawn(9).train
    assert {x.tobytes() for x in few.pixels} < {x.tobytes() for x in more.pixels} and len(few) == 5
    with pytest.raises(UserError, match="data_images=99: set has 36 to train on"):
        images.drawn(99)


def test_class_folders_are_read_in_any_of_the_usual_layouts(place):
    files = tree(("a/b/Train/", "a/b/val/", "a/b/test/"), ("dog", "cat", "train"))
    noise = {"a/b/Train/cat/.hidden.png": b"", "a/b/notes.txt": b"x", "__MACOSX/Train/cat/0.png": b"x"}
    images = load_images(write(place, files | noise))
    assert images.classes == ("cat", "dog", "train") and images.name == "set"
    assert [len(part) for part in (images.train, images.held_out, images.test)] == [30, 30, 30]
    first = np.asarray(Image.open(io.BytesIO(files["a/b/test/cat/0.png"]))).transpose(2, 0, 1)
    assert np.array_equal(images.test.pixels[0], first) and images.test.labels[0] == 0


def test_a_set_without_parts_is_divided_alike_in_folder_and_archive(tmp_path):
    files = tree(("",), count=20)
    one, other = (load_images(write(tmp_path / name, files)) for name in ("set", "set.zip"))
    assert [len(part) for part in (one.train, one.held_out, one.test)] == [28, 4, 8]
    assert np.array_equal(one.test.pixels, other.test.pixels) and np.array_equal(one.train.labels, other.train.labels)
    judged = load_images(write(tmp_path / "judged", tree(("train/", "val/"))))  # as ImageNet
    assert [len(part) for part in (judged.train, judged.held_out, judged.test)] == [18, 2, 20]


def test_a_corrupt_image_is_named_and_left_out_only_on_request(place):
    whole = picture(1, kind="JPEG")
    files = tree() | {"train/cat/a.jpg": whole[: len(whole) // 2], "train/dog/b.jpg": b"no image"}
    refuse("image .*train/cat/a.jpg: cannot be read .*skip_corrupt=true", write(place, files))
    with pytest.warns(UserWarning, match=r"left out as corrupt: 2 of \d+, such as .*a\.jpg"):
        images = load_images(str(place), skip_corrupt=True)
    assert len(images.train) + len(images.held_out) == 20


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"train/cat/x.png": picture(size=(10, 8))}, "x.png: 10 x 8 pixels are no square; give image_size"),
        ({"train/cat/x.png": picture(size=(12, 12))}, "x.png: has 12 pixels, others have 10; give image_size"),
        ({"train/cat/x.png": picture(mode="L")}, "x.png: has 1 channels, others have 3; give channels=3"),
        ({"test/owl/x.png": picture()}, "class owl is in another part, but not in train"),
        ({"train/x.png": picture()}, "train/x.png lies in no class folder; lay them out as CLASS/IMAGE.jpg"),
    ],
)
def test_images_of_several_shapes_are_refused(place, extra, says):
    refuse(says, write(place, tree() | extra))


def test_shapes_can_be_made_to_fit(place):
    extra = {"train/cat/x.png": picture(size=(30, 20)), "test/cat/y.png": picture(mode="L")}
    images = load_images(write(place, tree() | extra), image_size=8, channels=1)
    assert images.train.pixels.shape[1:] == images.test.pixels.shape[1:] == (1, 8, 8)


def test_paths_that_are_no_set_are_refused(place, tmp_path):
    refuse("has the only class cat", write(place, tree(("",), ("cat",))))
    refuse("holds no images", write(tmp_path / "b.zip", {"train/cat/x.txt": b"x"}))
    refuse("has no folder train", write(tmp_path / "c.zip", tree(("test/",)) | tree(("val/",))))
    other = {f"test/{name}/x.png": picture(size=(9, 9)) for name in ("cat", "dog")}
    refuse("test has images of 3x9x9, train of 3x10x10", write(tmp_path / "d.zip", tree(("train/",)) | other))
    refuse("there is no such file or folder", str(tmp_path / "nothing"))
    refuse("channels=2: must be 1", str(place), channels=2)
    refuse("image_size=0: must be", str(place), image_size=0)


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:\\x.png"])
def test_an_archive_that_leads_out_of_itself_is_refused(tmp_path, name):
    data = write(tmp_path / "set.zip", tree() | {name: picture()})
    refuse(f"entry {re.escape(repr(name))} leads out of the archive", data)
    assert {path.name for path in tmp_path.rglob("*")} == {"set.zip"}


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "set.zip"
    write(path, tree())
    data = bytearray(path.read_bytes())
    (tmp_path / "short.zip").write_bytes(data[: len(data) // 2])
    refuse("not a whole .zip", str(tmp_path / "short.zip"))
    start = data.index(b"IDAT") + 40
    data[start : start + 8] = b"changed!"
    path.write_bytes(data)
    refuse("image .*: cannot be read", str(path))


def test_sizes_are_checked_before_decoding(tmp_path, monkeypatch):
    data = write(tmp_path / "set.zip", tree())
    monkeypatch.setattr(decode, "MOST_PIXELS", 50)
    refuse("10 x 10 pixels are more than 50", data)
    monkeypatch.setattr(decode, "MOST_BYTES", 1000)
    refuse("20 images .* take 0 GiB.* give image_size and channels", data)
    monkeypatch.setattr(folder, "MOST_FILE", 10)
    refuse(r"train/cat/0\.png is \d+ bytes, the most is 10", data)


def test_an_unknown_name_gets_the_nearest_one():
    said = refuse("unknown data 'CIFAR11'; did you mean CIFAR10", "CIFAR11")
    assert "digits" in said and "hf:NAME" in said and "zip" in said


def test_torchvision_sets_are_read_where_they_lie(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    refuse(f"data=CIFAR10: not in {tmp_path} .*; add download=true, or give data_root=FOLDER", "CIFAR10", root=tmp_path)
    refuse("data=ImageNet: .*see torchvision.datasets.ImageNet", "ImageNet", root=tmp_path)
    assert all(hasattr(datasets, name) for name in SOURCES.get("torchvision").names())
    rng, raw = np.random.default_rng(0), tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 40), ("t10k", 20)):
        images, labels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(np.array([0x801, count], ">i4").tobytes() + labels.tobytes())
    read = load_images("MNIST", root=tmp_path)
    assert read.train.pixels.shape == (30, 1, 28, 28) and len(read.test) == 20 and len(read.classes) == 10
    assert np.array_equal(read.test.pixels[:, 0], images) and "CC BY" in read.licence


class Rows:
    """A stand-in for a data set of the library ``datasets``, with what is used of it."""

    def __init__(self, labels, features):
        self.features, self.info = features, types.SimpleNamespace(license="MIT")
        self.rows = {"img": [Image.open(io.BytesIO(picture(i))) for i in range(len(labels))], "label": labels}

    def __getitem__(self, key):
        return self.rows[key] if isinstance(key, str) else {name: column[key] for name, column in self.rows.items()}


def test_the_hubs_sets_are_read_by_the_types_of_their_columns(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refuse("data=hf:mine: needs datasets .*pip install datasets", "hf:mine")
    features = {"img": type("Image", (), {})(), "label": type("ClassLabel", (), {"names": ["no", "yes"]})()}
    found = {"train": Rows([0, 1] * 10, features), "test": Rows([-1] * 4, features)}  # labels kept back by its makers
    fake = types.SimpleNamespace(load_dataset=lambda name: found, __version__="3.6.0")
    monkeypatch.setitem(sys.modules, "datasets", fake)
    refuse(r"datasets 3\.6\.0 can run a set's own code; install 4 or newer", "hf:org/mine")
    fake.__version__ = "4.0.0"
    images = load_images("hf:org/mine")
    assert images.classes == ("no", "yes") and images.licence == "MIT" and images.name == "hf:org/mine"
    assert [len(part) for part in (images.train, images.held_out, images.test)] == [14, 2, 4]
    del features["label"]
    refuse("needs a column of images and one of class labels", "hf:org/mine")
    found.pop("train")
    refuse("has the splits test, none called train", "hf:org/mine")
    monkeypatch.setattr(fake, "load_dataset", lambda name: 1 / 0)
    refuse("cannot be loaded .*check the name", "hf:org/mine")


def test_the_shared_archive_has_the_expected_images(shared):
    images = load_images(shared / "images" / "cifar10-12k.zip")
    assert [len(part) for part in (images.train, images.held_out, images.test)] == [9000, 1000, 2000]
    assert images.train.pixels.shape[1:] == (3, 32, 32) and images.classes[:2] == ("airplane", "automobile")
    assert np.bincount(images.test.labels).tolist() == [200] * 10
    mean, _ = images.statistics()
    np.testing.assert_allclose(mean.flatten(), [0.49, 0.48, 0.45], atol=0.01)


def test_a_folder_beside_train_and_test_is_named(place):
    files = tree() | {"unlabeled/x.png": picture()}
    refuse("has unlabeled beside test, train; take that away", write(place, files))


def test_class_folders_may_be_links(tmp_path):
    data = write(tmp_path / "set", tree(parts=("",)))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set" / "dog").rename(tmp_path / "elsewhere" / "dog")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (tmp_path / "set" / "cat" / "again").symlink_to(tmp_path / "set")  # no end of it
    images = load_images(data)
    assert images.classes == ("cat", "dog") and sum(len(p) for p in (images.train, images.held_out, images.test)) == 20


@pytest.mark.filterwarnings("ignore:left out as corrupt. 20 of 20:UserWarning")
def test_a_set_without_readable_images_is_one_line(tmp_path):
    write(tmp_path / "set", dict.fromkeys(tree(), b"damaged"))
    refuse("no image is left for train", str(tmp_path / "set"), skip_corrupt=True)


def test_statistics_are_counted_in_pieces(monkeypatch):
    whole = load_images("digits")
    monkeypatch.setattr("weit_rl.data.images.image_set.COUNTED", 100)
    pieces = load_images("digits")
    assert all(np.array_equal(a, b) for a, b in zip(whole.statistics(), pieces.statistics(), strict=True))
    assert whole.statistics()[0] == pytest.approx(whole.train.sample().pixels.mean() / 255)


def test_a_constant_channel_is_not_amplified():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
    pixels[:, 2] = 40
    part = ImagesInMemory(pixels, np.zeros(6, np.int64))
    mean, std = Images("grey", ("a",), part, part, part, "none").statistics()
    assert mean[2].item() == pytest.approx(40 / 255) and std[2] == 1
    assert std[:2].flatten() == pytest.approx(pixels[:, :2].std((0, 2, 3)) / 255, rel=1e-4)

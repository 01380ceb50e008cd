"""Pictures of every kind as they are shown; what of a set is no picture is named, never lost in silence."""

import io
import struct
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import Image
from test_images import Rows, picture, refuse, tree, write

from weit_rl.common.errors import UserError
from weit_rl.data.images import load_images
from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.picture_files import are_pictures, pixels_of

SHAPE = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]  # what is drawn, the rest is transparent


def saved(image, kind="PNG", **options):
    """Return the bytes of a picture as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(image, kind="PNG", **options):
    return Image.open(io.BytesIO(saved(image, kind, **options)))


def drawn(colour, mode="RGBA"):
    """Draw the shape in one colour, all of it in the alpha channel."""
    pixels = np.full((4, 4, 4), colour, np.uint8)
    pixels[..., 3] = np.array(SHAPE) * 255
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture(params=["set", "set.zip"])
def place(request, tmp_path):
    return tmp_path / request.param


def told(data, **options):
    """Load the set; return it and the lines that are printed about it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        images = load_images(data, **options)
    return images, [str(one.message).replace(str(data), "SET") for one in found if one.category is UserWarning]


@pytest.mark.parametrize(("colour", "ground"), [(0, 255), (100, 255), (255, 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa"])
def test_shapes_in_the_alpha_channel_are_seen(colour, ground, mode):
    image = drawn(colour, "LA" if mode == "La" else "RGBA").convert(mode)
    seen = ImageReader().array(image)
    assert len(seen) == (1 if mode[0] == "L" else 3)
    assert all(np.array_equal(channel, np.where(SHAPE, colour, ground)) for channel in seen)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_transparency_of_files_is_seen(kind):
    image = opened(drawn(0), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(ImageReader(channels=1).array(image)[0], np.where(SHAPE, 0, 255))


@pytest.mark.parametrize("levels", [np.uint8, np.uint16])
def test_a_value_declared_transparent_is_transparent(levels):
    values = np.where(SHAPE, 0, 50 if levels is np.uint8 else 5000).astype(levels)
    for image in (
        Image.fromarray(values),
        *([Image.fromarray(np.stack(3 * [values], -1))] if levels is np.uint8 else []),
    ):
        clear = 3 * (50,) if image.mode == "RGB" else int(values.max())
        assert np.array_equal(
            ImageReader(channels=1).array(opened(image, transparency=clear))[0], np.where(SHAPE, 0, 255)
        )
    palette = Image.fromarray(np.array(SHAPE, np.uint8)).convert("P")
    palette.putpalette([9, 9, 9, 40, 40, 40])
    seen = ImageReader(channels=1).array(opened(palette, transparency=b"\x00\xff"))[0]
    assert np.array_equal(seen, np.where(SHAPE, 40, 255))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "1"])
def test_pictures_without_transparency_are_unchanged(mode):
    image = Image.open(io.BytesIO(picture(3))).convert(mode)
    for channels, wanted in ((1, "L"), (3, "RGB")):
        plain = np.asarray(image.convert(wanted)).reshape(10, 10, channels).transpose(2, 0, 1)
        assert np.array_equal(ImageReader(channels=channels).array(image), plain)


def test_a_picture_that_is_transparent_everywhere_is_white():
    assert (ImageReader().array(Image.new("RGBA", (4, 4), (0, 0, 0, 0))) == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(kind, orientation):
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8, 8:] = 200  # the upper right quarter
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = ImageReader(channels=1).array(opened(Image.fromarray(pixels), kind, exif=exif))[0]
    lit = {(y, x) for y in (0, 1) for x in (0, 1) if seen[8 * y + 4, 8 * x + 4] > 100}
    expected = {1: (0, 1), 2: (0, 0), 3: (1, 0), 4: (1, 1), 5: (1, 0), 6: (1, 1), 7: (0, 1), 8: (0, 0)}
    assert lit == {expected[orientation]}


def test_a_damaged_exif_is_ignored():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for damage in (b"Exif\x00\x00", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b"Exif\x00\x00no TIFF at all"):
        image = opened(Image.fromarray(pixels), "PNG", exif=damage)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.array_equal(ImageReader().array(image)[0], pixels)


def tiff_of_12_bits(values):
    """Write a TIFF as scanners do, two numbers in three bytes, which Pillow reads and does not write."""
    packed = bytes.fromhex("".join(f"{value:03x}" for value in values.flat))
    short = {256: values.shape[1], 257: values.shape[0], 258: 12, 259: 1, 262: 1, 277: 1, 278: values.shape[0]}
    tags = [(tag, 3, value) for tag, value in short.items()] + [(273, 4, 8 + 2 + 12 * 9 + 4), (279, 4, len(packed))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(tags))
    return b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed


def test_numbers_of_12_bits_fill_8_and_small_ones_of_32_are_refused(place):
    values = np.array([[0, 1000], [3000, 4095]])
    image = Image.open(io.BytesIO(tiff_of_12_bits(values)))
    assert ImageReader().array(image)[0].tolist() == np.rint(values / 4095 * 255).tolist()
    small = saved(Image.fromarray(np.arange(100, dtype=np.int32).reshape(10, 10)), "TIFF")
    refuse("x.tif: cannot be read .*32 bits, and small enough for 8", write(place, tree() | {"train/cat/x.tif": small}))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_the_first_of_several_frames_is_taken_with_a_note(kind, tmp_path):
    frames = [Image.linear_gradient("L").resize((10, 10)).convert("RGB"), Image.new("RGB", (10, 10), "white")]
    file = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    suffix = {"TIFF": "tif"}.get(kind, kind.lower())
    files = {f"{part}/{name}/{i}.{suffix}": file for part in ("train", "test") for name in "ab" for i in range(4)}
    images, lines = told(write(tmp_path / "set", files), channels=1)
    assert images.train.pixels.mean() < 150 and len(lines) == 1
    assert f"SET: test/a/0.{suffix}: takes only the first of its frames or pages" in lines[0]


def test_a_class_of_pictures_that_cannot_be_read_is_refused(place):
    lost = {f"train/owl/{i}.heic": b"x" for i in range(3)} | {"train/owl/notes.txt": b""}
    says = "train/owl holds no image that can be read, but 3 .heic, 1 .txt; convert them to .jpg, or take the folder"
    refuse(says, write(place, tree() | lost))


def test_a_class_without_readable_images_beside_another_is_refused(place):
    refuse(
        "dog holds no image that can be read, but 1 .HEIC".lower(),
        write(place, tree(("",), ("cat",)) | {"dog/x.HEIC": b""}),
    )


def test_a_test_folder_that_cannot_be_read_is_not_replaced_by_training_images(place):
    refuse(
        "test holds no image that can be read, but 1 .heic", write(place, tree(("train/",)) | {"test/cat/x.heic": b""})
    )


def test_an_empty_class_folder_is_named(place, tmp_path):
    if place.suffix == ".zip":
        path = write(place, tree(("",)) | {"owl/": b"", "labels/x.txt": b"1", "labels/y.txt": b""})
    else:
        path = write(place, tree(("",)) | {"labels/x.txt": b"1", "labels/y.txt": b""})
        (place / "owl").mkdir()
    images, lines = told(path)
    assert images.classes == ("cat", "dog")
    assert lines == ["data SET: no images in labels (2 .txt), owl; these folders become no class or part"]


def test_files_between_the_images_are_counted_and_named(place):
    others = {"train/cat/a.heic": b"", "train/cat/b.heic": b"", "test/dog/c": b"", "train/dog/Thumbs.db": b""}
    images, lines = told(write(place, tree() | others | {"README.md": b"of the set", "train/cat/.DS_Store": b""}))
    assert len(images.test) == 20
    assert len(lines) == 1 and lines[0].startswith("data SET: left out 2 .heic, 1 without a suffix, such as t")


def test_a_class_without_test_images_is_named(place):
    images, lines = told(write(place, tree(("train/",), ("cat", "dog", "owl")) | tree(("test/",))))
    assert images.classes == ("cat", "dog", "owl") and lines == ["data SET: test has no image of owl"]


def test_a_folder_called_train_that_holds_files_is_a_class(place):
    images, lines = told(write(place, tree(("",), ("train", "bus", "car"))))
    assert images.classes == ("bus", "car", "train") and not lines
    assert sum(len(part) for part in (images.train, images.held_out, images.test)) == 30


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (tree(("",), ("train", "test")), "lies in no class folder"),
        (tree(("",), ("train", "test", "bus")), "has bus beside test, train; take that away"),
        (tree(("train/",), ("steam", "diesel")) | tree(("",), ("bus",)), "has bus beside train; take that away"),
        (tree(("train/",)) | {"train/x.png": picture()} | tree(("",), ("bus",)), "has bus beside train"),
    ],
)
def test_a_folder_that_may_be_part_or_class_is_refused(place, files, says):
    refuse(says, write(place, files))


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    data = write(tmp_path / "set", tree())
    (tmp_path / "set" / "train" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    refuse("gone.png: cannot be read .*skip_corrupt=true", data)


def test_a_picture_has_the_same_pixels_read_later(place, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {f"{c}/{i}.png": saved(drawn(40 * i), exif=exif) for c in "ab" for i in range(6)}
    data, shape = write(place, files), {"image_size": 4, "channels": 3}
    read = load_images(data, **shape)
    monkeypatch.setattr("weit_rl.data.images.decode.MOST_BYTES", 100)
    later = load_images(data, **shape).train
    assert np.array_equal(read.train.pixels, later.read(np.arange(len(later))).pixels)


def test_pictures_to_classify_are_read_as_those_of_a_set(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = write(tmp_path / "set", {f"train/{c}/{i}.png": saved(drawn(40), exif=exif) for c in "ab" for i in range(4)})
    wanted = load_images(data, image_size=8, channels=1).train.pixels[:1]
    path = tmp_path / "set" / "train" / "a" / "0.png"
    assert are_pictures([path]) and are_pictures([Image.open(path)]) and not are_pictures("x.png")
    assert not are_pictures([[1.0]]) and not are_pictures([])
    assert np.array_equal(pixels_of([str(path), Image.open(path)], 1, 8), np.concatenate([wanted, wanted]))
    with pytest.raises(UserError, match=r"image .*none\.png: cannot be read"):
        pixels_of([tmp_path / "none.png"], 1, 8)


def test_unused_splits_and_columns_of_a_hub_set_are_named(monkeypatch):
    kinds = {name: type(name, (), {"names": ["no", "yes"]})() for name in ("Image", "ClassLabel")}
    features = {"img": kinds["Image"], "fine": kinds["ClassLabel"], "coarse": kinds["ClassLabel"]}
    rows = Rows([0, 1] * 10, features)
    rows.rows["fine"] = rows.rows.pop("label")
    found = {"train": rows, "test": Rows([0] * 4, features), "unlabeled": rows}
    found["test"].rows["fine"] = found["test"].rows.pop("label")
    fake = types.SimpleNamespace(load_dataset=lambda name: found, __version__="4.0.0")
    monkeypatch.setitem(sys.modules, "datasets", fake)
    _, lines = told("hf:org/mine")
    assert lines == [
        "data=SET: left out the splits unlabeled",
        "data=SET: takes the columns img and fine, not coarse",
        "data SET: test has no image of yes",
    ]


def test_nearly_black_images_are_named(place):
    dark = saved(Image.fromarray((np.arange(64).reshape(8, 8) * 65).astype(np.uint16)))  # 12 bits in a file of 16
    _, lines = told(write(place, {f"{c}/{i}.png": dark for c in "ab" for i in range(5)}))
    assert lines == ["data SET: all pixels lie from 0 to 16 of 255; save the images with their full range"]


def test_a_failed_download_names_its_target_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be put into .*file/sub .*; give data_root=FOLDER") as error:
        load_images("CIFAR10", root=tmp_path / "file" / "sub", download=True)
    assert "add download=true" not in str(error.value)

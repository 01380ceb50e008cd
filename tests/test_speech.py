"""Sounds as spectrograms: what is drawn, how folders are read, what is refused, and that spoken digits are learned."""

import io
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile
from scipy.signal import chirp

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.data.images import load_images, speech
from weit_rl.data.images.speech import HOP, RATE, mel_bands, spectrogram
from weit_rl.tasks.classification import Classification, ClassificationConfig

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def tone(hertz=1000.0, seconds=0.5, rate=16_000, loudness=0.3):
    return loudness * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav(samples, rate=16_000, kind=np.int16):
    """Return the bytes of a .wav file."""
    scale = {np.uint8: (127, 128), np.int16: (2**15 - 1, 0), np.int32: (2**31 - 1, 0)}.get(kind, (1, 0))
    file = io.BytesIO()
    wavfile.write(file, rate, (samples * scale[0] + scale[1]).astype(kind))
    return file.getvalue()


def shown(tmp_path, content, **options):
    (tmp_path / "x.wav").write_bytes(content)
    return spectrogram(tmp_path / "x.wav", **options)[0]


def write(place, files):
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    return str(place)


def tones(count=10, classes=("high", "low")):
    pitch = {"low": 300, "high": 3000}
    return {f"{name}/{i}.wav": wav(tone(pitch[name] * (1 + i / 50))) for name in classes for i in range(count)}


@pytest.fixture(params=["set", "set.zip"])
def place(request, tmp_path):
    return tmp_path / request.param


@pytest.mark.parametrize("hertz", [200, 1000, 5000])
def test_a_tone_is_a_line_at_its_pitch_for_as_long_as_it_lasts(hertz, tmp_path):
    drawn = shown(tmp_path, wav(tone(hertz)))
    centres = mel_bands(64) @ np.arange(1025) * (RATE / 2048) / mel_bands(64).sum(1)
    assert drawn.shape == (64, 64) and drawn.dtype == np.uint8
    row = 63 - int(np.abs(centres - hertz).argmin())  # low bands at the bottom
    lit = np.flatnonzero(drawn[row] > 128)
    assert abs(drawn[:, 32].argmax() - row) <= 1 and drawn.max() == 255  # a low tone is wider than its band
    assert abs(len(lit) - 0.5 * RATE / HOP) <= 4 and abs(lit.mean() - 32) <= 1  # in the middle, between silence
    assert drawn[:, 0].max() == drawn[:, -1].max() == 0


def test_time_goes_to_the_right_and_pitch_up(tmp_path):
    times = np.arange(16_000) / 16_000
    drawn = shown(tmp_path, wav(chirp(times, 200, 1, 7000))).astype(float)
    rows = drawn[:, 8:56].argmax(0)
    assert (np.diff(rows) <= 0).all() and rows[0] - rows[-1] > 25


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_rate_bits_channels_and_loudness_make_no_difference(rate, kind, tmp_path):
    wanted = shown(tmp_path, wav(tone(900)))
    samples = tone(900, rate=rate, loudness=0.9)
    for content in (wav(samples, rate, kind), wav(np.stack([samples, samples], 1), rate, kind)):
        drawn = shown(tmp_path, content)
        strong = (wanted > 170) | (drawn > 170)  # 27 dB; below it is the noise of eight bits
        assert np.abs(drawn.astype(int) - wanted)[strong].max() < 26


def test_every_band_of_the_usual_sizes_hears_something():
    for count in (32, 64, 128, 224):
        assert (mel_bands(count).sum(1) > 0).all() and mel_bands(count).min() == 0


def test_the_middle_of_a_long_sound_is_taken(tmp_path):
    parts = [tone(300, 1), tone(3000, 1.1), tone(300, 1)]
    with pytest.warns(UserWarning, match=r"sounds longer than 1\.02 s are cut to their middle; a larger image_size"):
        drawn = shown(tmp_path, wav(np.concatenate(parts)))
    assert len(np.unique(drawn[:, 4:-4].argmax(0))) == 1
    whole = shown(tmp_path, wav(np.concatenate(parts)), image_size=224)
    assert whole.shape == (224, 224) and len(np.unique(whole[:, 20:-20].argmax(0))) >= 2
    assert not shown(tmp_path, wav(np.zeros(100))).any()


def test_a_sound_that_fits_is_kept_whole(tmp_path, recwarn):
    parts = np.concatenate([tone(300, 0.5, loudness=1), tone(3000, 0.4, loudness=0.3)])
    loud = shown(tmp_path, wav(parts)).argmax(0)
    rows, counts = np.unique(loud[2:-2], return_counts=True)
    assert (
        len(rows) >= 2 and min(counts[np.argsort(counts)[-2:]]) > 0.35 * RATE / HOP
    )  # both tones, each as long as it is
    assert not [one for one in recwarn if "are cut to their middle" in str(one.message)]


@pytest.mark.filterwarnings("ignore:.*left out 1 .txt, such as low/notes.txt:UserWarning")
def test_class_folders_of_sounds_are_read_as_those_of_images_are(place):
    sounds = load_images(write(place, tones() | {"cover.png": b"beside them", "low/notes.txt": b"x"}))
    assert sounds.classes == ("high", "low") and (sounds.channels, sounds.image_size, sounds.name) == (1, 64, "set")
    assert [len(part) for part in (sounds.train, sounds.held_out, sounds.test)] == [14, 2, 4]
    pitch = 63 - sounds.train.pixels[:, 0, :, 32].argmax(1)
    assert pitch[sounds.train.labels == 1].max() < pitch[sounds.train.labels == 0].min()
    assert load_images(str(place), image_size=32).train.pixels.shape[1:] == (1, 32, 32)


def test_sounds_are_shifted_in_training_only_on_request(place):
    pytest.importorskip("torchvision", reason="the vision extra is not installed")
    sounds = load_images(write(place, tones()))
    usual, none, some = (
        Classification(sounds, ClassificationConfig(batch_size=8, **options)).batch(0)["images"]
        for options in ({}, {"crop_padding": 0}, {"crop_padding": 4})
    )
    assert torch.equal(usual, none) and not torch.equal(usual, some)


@pytest.mark.filterwarnings("ignore:.*all pixels lie from 0 to 0 of 255:UserWarning")
def test_images_are_still_read_as_images(place):
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    images = load_images(write(place, {f"{name}/{i}.png": file.getvalue() for name in "ab" for i in range(5)}))
    assert images.image_size == 8


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no sound", "low/x.wav: cannot be read .*File format"),
        (b"", "low/x.wav: cannot be read"),
        (wav(np.zeros(0)), "low/x.wav: cannot be read .holds no samples"),
        (wav(tone())[:4000], "low/x.wav: cannot be read .*Reached EOF prematurely"),
        (wav(tone())[:30], "low/x.wav: cannot be read"),
        (wav(tone(), rate=7), "low/x.wav: cannot be read .7 samples a second are not from 1000"),
        (wav(np.full(99, np.nan), kind=np.float32), "low/x.wav: cannot be read .holds NaN"),
        (wav(tone())[:22] + b"\0\0" + wav(tone())[24:], "low/x.wav: cannot be read"),
    ],
    ids=["text", "nothing", "no samples", "cut short", "cut in the header", "rate", "NaN", "no channels"],
)
def test_a_damaged_sound_is_named_and_left_out_only_on_request(place, content, says):
    data = write(place, tones() | {"low/x.wav": content})
    with pytest.raises(UserError, match=f"sound .*{says}.*skip_corrupt=true") as error:
        load_images(data)
    assert "\n" not in str(error.value)
    with pytest.warns(UserWarning, match="left out as corrupt: 1 of "):
        assert len(load_images(data, skip_corrupt=True).test) == 4


def test_folders_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has the only class low; .*lay them out as CLASS/SOUND.wav"):
        load_images(write(tmp_path / "one", tones(classes=("low",))))
    with pytest.raises(UserError, match=r"x.wav lies in no class folder; lay them out as CLASS/SOUND.wav"):
        load_images(write(tmp_path / "flat", tones() | {"x.wav": wav(tone())}))
    with pytest.raises(UserError, match=r"sound .*: cannot be read .*give a .wav file"):
        spectrogram(tmp_path / "nothing.wav")
    monkeypatch.setattr(speech, "MOST_FILE", 10)
    with pytest.raises(UserError, match="bytes, the most is 10"):
        load_images(str(write(tmp_path / "large", tones())))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Have ten digits spoken by eight voices, and for the test by two others."""
    if not shutil.which("espeak-ng"):
        pytest.skip("nothing speaks the digits here: apt-get install espeak-ng")
    folder = tmp_path_factory.mktemp("spoken")
    voices = {"train": ["m1", "m2", "m3", "m4", "f1", "f2", "f3", "f4"], "test": ["m6", "f5"]}
    for part, names in voices.items():
        for number, name in enumerate(names):
            for digit in DIGITS:
                path = folder / part / digit / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                pace = ["-s", str(140 + 10 * (number % 4)), "-p", str(40 + 5 * (number % 3))]
                subprocess.run(["espeak-ng", "-v", f"en-us+{name}", *pace, "-w", path, digit], check=True)
    return folder


def test_a_bank_learns_spoken_digits_and_another_size_classifies_other_voices(spoken, tmp_path):
    pytest.importorskip("timm", reason="the vision extra is not installed")
    own = {"data": spoken, "model": "vit", "patch_size": 16, "batch_size": 32, "threads": 1, "device": "cpu"}
    sampled = {"size": "64x1", "widths": [32, 64], "depths": [1], "rank": 16, "score_sizes": []}
    vision.pretrain(**own, **sampled, steps=100, run_dir=tmp_path / "bank")
    bank, run = tmp_path / "bank" / "bank.safetensors", tmp_path / "run"
    report = vision.train(**own, bank=bank, size="96x1", scaler_steps=40, train_steps=0, run_dir=run)
    assert report["images"] == 20 and report["accuracy"] >= 50  # by chance 10
    sounds = [spoken / "train" / digit / "m1.wav" for digit in DIGITS]
    told = vision.classify(run, np.stack([spectrogram(sound) for sound in sounds]))
    assert sum(a == b for a, b in zip(told["classes"], DIGITS, strict=True)) >= 7

"""Speech: class folders of .wav files, each shown as the picture of its log-mel spectrogram, time to the right.

A transformer over patches of such pictures is the audio spectrogram transformer (Gong et al. 2021, arXiv 2104.01778),
so ``model=vit`` classifies sounds as it does images. A picture of ``image_size`` pixels (default 64) has as many mel
bands, low ones at the bottom, and as many time steps of 16 ms. It shows the sound around the middle of its energy; a
shorter sound is padded with silence.
"""

from __future__ import annotations

import functools
import io
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.folder import MOST_FILE, holds
from weit_rl.data.images.folder import read as read_folder
from weit_rl.data.images.layout import FileKind
from weit_rl.data.images.registry import SOURCES, ImageSource, SourceParts

RATE, RATES = 16_000, (1_000, 384_000)  # samples per second after resampling, and the range accepted before
EDGE = 64  # default edge of a picture, pixels
WINDOW, HOP, SPECTRUM = 512, 256, 2048  # samples per frame, per hop, and per zero-padded Fourier transform
RANGE = 80.0  # dynamic range of a picture, decibels below the loudest place
WHOLE = 0.99  # a warning appears if the picture shows less than this share of a sound's energy


def accepts(data: str) -> bool:
    """Return True for a folder or .zip that holds sounds."""
    return holds(data, SOUNDS)


def read(data: str, reader: ImageReader) -> SourceParts:
    """Read the sounds of class folders; they are not shifted in training, since another pitch is another sound."""
    return read_folder(data, reader, SOUNDS)._replace(shifts=False)


def spectrogram(sound: str | os.PathLike, image_size: int = EDGE) -> np.ndarray:
    """Compute the input of a network that was trained on sounds: ``(1, image_size, image_size)`` uint8.

    Args:
        sound: path of a .wav file.
        image_size: edge of the picture in pixels (default 64).

    Raises:
        UserError: if it cannot be read.
    """
    try:
        return picture(*samples_of(expand_home(sound)), image_size)[None]
    except (OSError, ValueError) as error:
        raise UserError(f"sound {sound}: cannot be read ({error}); give a .wav file") from error


def samples_of(file: str | Path | io.BytesIO) -> tuple[np.ndarray, int]:
    """Read the samples ``(n,)`` of a .wav file, averaged over channels, and the number of samples per second.

    Raises:
        ValueError: if the file is no .wav file, empty, cut short or larger than ``MOST_FILE`` bytes.
    """
    from scipy.io import wavfile

    content = file.getvalue() if isinstance(file, io.BytesIO) else _bytes(Path(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # unknown chunks beside the sound
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        try:
            rate, samples = wavfile.read(io.BytesIO(content))  # allocates no more memory than the file has bytes
        except Exception as error:  # a damaged header can raise anything
            raise ValueError(str(error)) from error
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{rate} samples a second are not from {RATES[0]} to {RATES[1]}")
    if not samples.size:
        raise ValueError("holds no samples")
    middle = 128.0 if samples.dtype == np.uint8 else 0.0
    return samples.reshape(len(samples), -1).mean(1, dtype=np.float64) - middle, rate


def picture(samples: np.ndarray, rate: int, edge: int) -> np.ndarray:
    """Draw the spectrogram of samples: ``(edge, edge)`` uint8, black at ``RANGE`` decibels below the loudest place.

    Args:
        samples: ``(n,)``, of any loudness.
        rate: samples per second.
        edge: number of mel bands, and of time steps.
    """
    from scipy.signal import ShortTimeFFT, resample_poly
    from scipy.signal.windows import hann

    if not np.isfinite(samples).all():
        raise ValueError("holds NaN or infinite values")
    common, length = math.gcd(rate, RATE), math.ceil(edge * HOP * rate / RATE)
    sound = resample_poly(_clip(samples, length, rate), RATE // common, rate // common)
    transform = ShortTimeFFT(hann(WINDOW, sym=False), HOP, RATE, mfft=SPECTRUM)
    power = mel_bands(edge) @ transform.spectrogram(sound, p0=0, p1=edge)  # (bands, frequencies) @ (frequencies, steps)
    loudest = max(power.max(), np.finfo(np.float64).tiny)
    decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-RANGE / 10)))
    return np.rint((1 + decibels / RANGE) * 255).astype(np.uint8)[::-1]


@functools.cache
def mel_bands(count: int) -> np.ndarray:
    """Return triangular filters over frequencies, evenly spaced in HTK's mels, ``(count, SPECTRUM // 2 + 1)``."""
    highest = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, count + 2) / 2595) - 1)  # of the triangles, hertz
    frequencies = np.arange(SPECTRUM // 2 + 1) * (RATE / SPECTRUM)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > MOST_FILE:
        raise ValueError(f"{path.stat().st_size} bytes, the most is {MOST_FILE}")
    return path.read_bytes()


def _clip(sound: np.ndarray, length: int, rate: int) -> np.ndarray:
    """Take ``length`` samples around the middle of the sound's energy, and pad a shorter sound with silence.

    If that would cut off audible sound, the window moves to the nearest place that lies inside the sound.
    """
    energy = sound**2
    total, times = energy.sum(), np.arange(len(sound))
    start = round(float(energy @ times / total) if total else len(sound) / 2) - length // 2
    if _heard(energy, start, length) < WHOLE * total:
        first, last = sorted((0, len(sound) - length))
        start = min(max(first, start), last)
    if _heard(energy, start, length) < WHOLE * total:
        most = f"{length / rate:.2f} s"
        warnings.warn(
            f"sounds longer than {most} are cut to their middle; a larger image_size takes more", stacklevel=2
        )
    kept = sound[max(0, start) : max(0, start + length)]
    before = max(0, -start)
    return np.pad(kept, (before, length - before - len(kept)))


def _heard(energy: np.ndarray, start: int, length: int) -> float:
    return float(energy[max(0, start) : max(0, start + length)].sum())


def _open(file: Any, reader: ImageReader) -> Image.Image:
    return Image.fromarray(picture(*samples_of(file), reader.image_size or EDGE))


UNREAD = (".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".au", ".sph", ".webm")
SOUNDS = FileKind("sound", (".wav",), _open, UNREAD)
SOURCES.add("speech", ImageSource(lambda: ["a folder or .zip of class folders of .wav files"], accepts, read))

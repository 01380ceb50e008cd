"""Compute features by the InceptionV3 of published FID and KID values, from torch-fidelity; weights are not fetched."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError

NAME = "inception"
FILE = "weights-inception-2015-12-05-6726825d.pth"  # its SHA-256 begins with the digits after the last dash
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
LAYER = "2048"  # torch-fidelity's name of the last layer's input
AT_ONCE = 32  # images, enlarged to 299 x 299


class Inception(nn.Module):
    """A network that computes InceptionV3's features, the input of its last layer.

    Args:
        path: file of the weights (default: where torch's hub keeps them for torch-fidelity).

    Raises:
        UserError: if torch-fidelity or the weights are missing; the weights are not fetched.
    """

    def __init__(self, path: Path | None = None):
        super().__init__()
        # torch-fidelity unpickles any file: it gets bytes that are written here and hold tensors only
        safe_bytes = io.BytesIO()
        torch.save(_weights(path or weights_path()), safe_bytes)
        safe_bytes.seek(0)
        self.net = _network()(NAME, [LAYER], feature_extractor_weights_path=safe_bytes)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Compute the features ``(n, 2048)`` float64 of images ``(n, C, H, W)`` uint8; one channel is grey."""
        if images.shape[1] not in (1, 3):
            raise UserError(f"features={NAME}: sees images of 1 or 3 channels, these have {images.shape[1]}")
        device = next(self.net.parameters()).device
        parts = images.expand(-1, 3, -1, -1).split(AT_ONCE)
        return torch.cat([self.net(some.contiguous().to(device))[0].double().cpu() for some in parts])


def weights_path() -> Path:
    """Return the path where torch's hub keeps the weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def _weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of the published file; UserError for any other file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"features={NAME}: {path}: cannot read ({reason}); put {URL} there") from error
    if not hashlib.sha256(data).hexdigest().startswith(path.stem.rpartition("-")[2]):
        raise UserError(f"features={NAME}: {path}: is not the published file, by its checksum; put {URL} there")
    return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


def _network() -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(f"features={NAME}: needs torch-fidelity ({error}): pip install 'weit_rl[vision]'") from error
    return FeatureExtractorInceptionV3

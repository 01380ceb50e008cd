"""InceptionV3 as the published values of FID and KID have it: torch-fidelity's network, with weights that are there."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError

NAME = "inception"
FILE = "weights-inception-2015-12-05-6726825d.pth"  # the number behind the last dash begins its SHA-256
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
LAYER = "2048"  # torch-fidelity's name of what goes into the last layer
AT_ONCE = 32  # images, enlarged to 299 x 299


class Inception(nn.Module):
    """What it gives to its last layer, ``(n, 2048)`` in float64.

    Args:
        path: of the weights (default: where torch's hub keeps torch-fidelity's own).

    Raises:
        UserError: without torch-fidelity, or without the weights, which are not fetched.
    """

    def __init__(self, path: Path | None = None):
        super().__init__()
        # torch-fidelity unpickles a file without looking: it gets bytes that are written here, from tensors alone
        bytes_of_own = io.BytesIO()
        torch.save(_weights(path or kept()), bytes_of_own)
        bytes_of_own.seek(0)
        self.net = _network()(NAME, [LAYER], feature_extractor_weights_path=bytes_of_own)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Of bytes ``(n, C, H, W)`` in three channels, or in one, which is taken for grey."""
        if images.shape[1] not in (1, 3):
            raise UserError(f"features={NAME}: sees images of 1 or 3 channels, these have {images.shape[1]}")
        device = next(self.net.parameters()).device
        parts = images.expand(-1, 3, -1, -1).split(AT_ONCE)
        return torch.cat([self.net(some.contiguous().to(device))[0].double().cpu() for some in parts])


def kept() -> Path:
    """Where torch's hub keeps the weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def _weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that is the published one."""
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

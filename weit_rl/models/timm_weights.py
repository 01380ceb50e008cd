"""The weights of timm's networks from files as people save them: nested, averaged, of wrapped networks, pickled.

Reading one runs no code from the file: it is safetensors, or a file of torch that holds only weights. For a file of
torch that you trust, ``python -m weit_rl.models.timm_weights FILE`` writes safetensors beside it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import guard_output, print_error, print_line
from weit_rl.storage.atomic_write import write_atomically

# keys that some files, such as timm's, have the weights under
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
# parts of names that come from wrappers: DistributedDataParallel, torch.compile, FSDP, checkpointing
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COUNT = "n_averaged"  # a counter that torch's AveragedModel saves beside the weights
FILES = ("model.safetensors", "pytorch_model.bin")  # in a folder of the hub
# these may lie outside the network's prefix
CLASSIFIERS = {f"{head}.{kind}" for head in ("head", "head.fc") for kind in ("weight", "bias")}
EMBEDDINGS = ("patch_embed.proj.weight", "stem.0.weight")


def write_safetensors(path: str | Path, new: str | Path | None = None) -> Path:
    """Write the weights of a ``*.pth``, ``*.pt`` or ``*.bin`` as safetensors, under timm's own names.

    The file is a pickle. torch reads only tensors and ``argparse.Namespace`` from it, but versions of torch had
    security holes there. So use it for files you trust only.

    Args:
        path: the file to read.
        new: the file to write (default: beside it, where ``source=`` finds it).

    Returns:
        The path of the new file.

    Raises:
        UserError: if the file cannot be read or has no weights, or if the new file exists already.
    """
    from safetensors.torch import save

    path = expand_home(path)
    new = expand_home(new) if new else _converted(path)
    if new.exists():
        raise UserError(f"{new}: exists already; give another path")
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in read_weights(path, True).items()
    }
    write_atomically(new, save(weights))
    return new


def _converted(path: Path) -> Path:
    """Return the path of the safetensors file beside a pickle."""
    return path.with_name(FILES[0]) if path.name in FILES else path.with_suffix(".safetensors")


def read_weights(path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    """Read a checkpoint's weights by timm's own names, without nesting and wrappers; see ``load_timm``."""
    from safetensors.torch import load_file

    if path.suffix != ".safetensors" and not allow_pickle:
        raise UserError(
            f"{path}: may be a pickle; give timm's .safetensors, or, of a file that you trust, write one with "
            f"python -m weit_rl.models.timm_weights {quote(str(path))} and give {_converted(path)}"
        )
    try:
        if path.suffix == ".safetensors":
            weights: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([Namespace]):  # the options of a training run, beside its weights
                weights = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # anything that torch and safetensors raise for damaged or other files
        if (
            type(error).__name__ == "UnpicklingError"
        ):  # by its name, since its module, which can run code, is never imported
            raise UserError(
                f"{path}: cannot be read as weights; it is damaged, or holds other objects, such as a whole network, "
                "which may run code; if you trust it, load it yourself and write one with "
                "torch.save(net.state_dict(), NEW)"
            ) from error
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: cannot be read as weights ({reason}); give timm's .safetensors") from error
    return {name: _plain(name, tensor) for name, tensor in _unwrapped(path, _nested(weights)).items()}


def _nested(weights: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the innermost mapping under the usual keys; averaged weights come first."""
    for _ in NESTED:  # no deeper, since a mapping may contain itself
        weights = next((weights[key] for key in NESTED if isinstance(weights.get(key), Mapping)), weights)
    return weights


def _unwrapped(path: Path, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the network by its own names; raise UserError for several networks in one file."""
    pairs = [(_own_name(name), tensor) for name, tensor in weights.items() if isinstance(tensor, Tensor)]
    if not pairs:
        held = ", ".join(map(str, weights)) or "nothing"
        raise UserError(f"{path}: holds no weights, also not as {' or '.join(NESTED)}, but {held}; save weights alone")
    named = {name: tensor for name, tensor in pairs if name != COUNT}
    if len(named) < sum(name != COUNT for name, _ in pairs):
        raise UserError(f"{path}: holds a network wrapped and as it is; give a file with one of them")
    above = {name.removesuffix(end) for name in named for end in EMBEDDINGS if f".{name}".endswith(f".{end}")}
    if len(above) > 1:
        some = ", ".join(sorted(prefix or "no prefix" for prefix in above))
        raise UserError(f"{path}: holds several networks ({some}); give a file with one of them")
    prefix = min(above, default="")
    own = {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in named.items() if name in CLASSIFIERS} | own


def _own_name(name: str) -> str:
    return ".".join(part for part in str(name).split(".") if part not in WRAPPERS)


def _plain(name: str, tensor: Tensor) -> Tensor:
    """Flatten the 1 x 1 convolutions of timm's smaller ConvNeXt, which are linear layers in the larger ones."""
    return tensor.flatten(1) if ".mlp.fc" in name and tensor.ndim == 4 else tensor


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code, 2 for a file that is not written."""
    parser = ArgumentParser(description="Write the weights of a .pth, .pt or .bin that you trust as safetensors.")
    parser.add_argument("file", help="what torch.save wrote")
    parser.add_argument("new", nargs="?", help="what is written (default: beside it, as .safetensors)")
    given = parser.parse_args(argv)
    with guard_output():
        try:
            print_line(f"written: {write_safetensors(given.file, given.new)}")
        except UserError as error:
            print_error(str(error))
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

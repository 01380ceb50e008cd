"""The options of ``weit_rl.export``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weit_rl.options.option_fields import Options, Texts, option


@dataclass
class ExportOptions(Options):
    """Options of ``python -m weit_rl.export``.

    Write a policy as one file that runs without torch and this package: normaliser, action scaling and the memory
    of earlier steps are inside. Of a finished run, run=RUN; or of a network that is made for it from the bank,
    env=ENV: of a size, or of the largest size that keeps a limit on this machine, limit=1MB, limit=2ms. A report of
    it lies beside it, as JSON.
    """

    run: str | None = option(None, "run folder, as printed by weit_rl.train (weit_rl.vision: classifiers)")
    task: str | None = option(
        None,
        "run: what it was trained for, control or classification (null: whatever it was); task=diffusion writes a "
        "pipeline of diffusers, as weit_rl.vision mode=export",
    )
    env: str | None = option(
        None,
        "instead of run: environment to make a network for, by name, dmc/DOMAIN-TASK or gym:ID; beside a run of "
        "gym:MODULE:ID its name, if you trust the module",
    )
    limit: Texts | None = option(None, "env: the largest file or latency of a call, 1MB, 2ms or both, [1MB, 2ms]")
    sizes: list[str] = option(
        ["tiny", "small", "base", "large", "xlarge"],
        "limit: sizes to choose from, ladder names or WIDTHxDEPTH",
    )
    size: str | None = option(None, "env: a size to make instead, ladder name or WIDTHxDEPTH")
    model: str = option("dt", "env: policy network, as in weit_rl.train")
    bank: str | None = option(
        None,
        "env: path of a template bank or of the run that made it, hf:USER/NAME of the Hugging Face hub, or a name "
        "that one ships for (null: the one that ships)",
    )
    data: Texts = option("expert", "env: what it is trained on, as in weit_rl.train")
    scaler_steps: int | None = option(
        None,
        "env: gradient steps of scalers and free parameters (null: 300); 0 skips them",
    )
    train_steps: int = option(300, "env: gradient steps on the whole plain network; 0 skips them")
    options: dict[str, Any] = option({}, "env: further options of weit_rl.train, such as {pixels: true, init: scratch}")
    run_dir: str | None = option(None, "env: new folder for the run that makes it (null: runs/<name of the run>)")
    format: str = option("onnx", "onnx, or torch_export (.pt2, for torch.export.load)")
    quantize: str | None = option(
        None,
        "int8: weights in 8 bits, activations quantised at every call (onnx); float32 is scored beside it",
    )
    batch: int | None = option(None, "environments acted in (or images classified) at once; null for any number")
    checkpoint: str = option("best", "which of a run's checkpoints: best (on validation episodes), or last")
    target_return: float | None = option(None, "return asked of the policy (null: the checkpoint's own)")
    episodes: int = option(20, "test episodes that the file plays")
    threads: int = option(1, "CPU threads of a call")
    seed: int = option(0, "of the run that makes a network, and of the episodes")
    out: str | None = option(None, "file to write (null: policy.onnx in the run folder, or the like)")
    overwrite: bool = option(False, "whether files that are there already may be replaced")

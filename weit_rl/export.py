"""``python -m weit_rl.export``: ``--help`` lists the options."""

from __future__ import annotations

from typing import Any

from weit_rl.options.command import command
from weit_rl.options.export_options import ExportOptions
from weit_rl.options.image_run_options import ImageExportOptions
from weit_rl.workflows.checks_before_torch import check_before_torch


def main(cfg: ExportOptions | ImageExportOptions) -> dict[str, Any]:
    """Run with a composed config (see ``weit_rl.options.command.compose``); returns the report."""
    if isinstance(cfg, ImageExportOptions):  # task=diffusion, whose options are those of weit_rl.vision mode=export
        from weit_rl.vision import main as vision

        return vision(cfg)
    from weit_rl.workflows.export_run import export

    return export(cfg)


if __name__ == "__main__":
    command("export", main, check=check_before_torch)

"""Export a trained network as a file, check it against the network, time it and evaluate it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.deploy.measure import Measured, busy_remark
from weit_rl.deploy.registry import FORMATS, GRAPHS, Graph
from weit_rl.envs.registry import entry_of_file
from weit_rl.models import MODELS
from weit_rl.options.choices import check_numbers
from weit_rl.options.command import CONTROL
from weit_rl.options.export_options import ExportOptions
from weit_rl.storage.atomic_write import unused_path, write_atomically
from weit_rl.tasks import task_entry_of
from weit_rl.training.checkpoint import load_network
from weit_rl.training.progress import print_table
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.evaluate_run import set_target_return
from weit_rl.workflows.export_size import largest_size, limits_of, task_of, train_size
from weit_rl.workflows.exported_scores import score_files

TOLERANCE = 1e-5  # largest difference of a file's outputs, relative to the largest output
EXACT, INT8 = "float32", "int8"
TRAIN_OPTIONS = ("limit", "sizes", "size", "model", "bank", "data", "scaler_steps", "train_steps", "options", "run_dir")


def export(cfg: ExportOptions) -> dict[str, Any]:
    """Write the file and its report; returns the content of the report, and ``path``.

    Raises:
        UserError: for bad input, before anything is trained or written.
    """
    check(cfg)
    size, ladder = choose_size(cfg) if cfg.run is None else (None, None)
    run = RunFolder.open(str(cfg.run) if size is None else train_size(cfg, size))
    net, card, checkpoint = network_of(run, cfg)
    graph = graph_of(net, card, cfg)
    files = files_of(graph, cfg)
    if not files[EXACT].difference <= TOLERANCE:
        raise UserError(f"run={run.path}: outputs differ by {files[EXACT].difference:.1e} once exported; not written")
    metrics, rows = score_files(run, card, graph, files, cfg)
    report = {"file": graph.card, "run": str(run.path), "checkpoint": checkpoint, "ladder": ladder}
    report |= {name: cfg[name] for name in ("format", "quantize", "threads", "seed")}
    report |= {name: {**file.facts(), **metrics[name]} for name, file in files.items()}
    path, beside = output_paths(cfg, default_path(run, graph, cfg))
    write_atomically(path, files[cfg.quantize or EXACT].data)
    write_atomically(beside, (json.dumps(report, indent=2) + "\n").encode())
    print_table(
        f"{graph.card['model']} {graph.card['size']} of {run.path}, {cfg.threads} CPU thread(s){busy_remark()}", rows
    )
    print_line(f"written: {path}, and its report: {beside}")
    return report | {"path": str(path)}


def check(cfg: ExportOptions) -> None:
    """Raise UserError for options that contradict each other, or would only fail at the end."""
    check_numbers(cfg)
    usual = ExportOptions()
    # env beside run names the module of the run's environment, which the user trusts
    trusted = cfg.run is not None and f"{cfg.env}".startswith("gym:")
    if (cfg.run is None) == (cfg.env is None) and not trusted:
        raise UserError("run, env: give one of them, run=RUN or env=ENV with limit=1MB, limit=2ms or size=small")
    if cfg.run is None and (cfg.limit is None) == (cfg.size is None):
        raise UserError(f"env={cfg.env}: give limit=1MB, limit=2ms or the like, or size=small, and not both")
    if cfg.run is not None and (other := [name for name in TRAIN_OPTIONS if cfg[name] != usual[name]]):
        raise UserError(f"{', '.join(other)}: are for a network that is trained, env=ENV; leave them out with run=RUN")
    if cfg.run is None and cfg.task not in (None, CONTROL):
        raise UserError(f"task={cfg.task}: env={cfg.env} makes a policy; give run=RUN of such a task, or leave it out")
    if cfg.quantize not in (None, INT8):
        raise unknown_name_error("quantize", cfg.quantize, [INT8])
    if cfg.quantize and FORMATS.get(cfg.format).quantize is None:
        raise UserError(f"quantize={cfg.quantize}: format={cfg.format} cannot be quantized; use format=onnx")
    limits_of(cfg)
    if cfg.out is not None:
        output_paths(cfg)


def choose_size(cfg: ExportOptions) -> tuple[Size, list[dict[str, Any]] | None]:
    """Choose the size to train, and the measured sizes if a limit chose it."""
    if cfg.limit is not None:
        return largest_size(cfg, lambda net, card: files_of(graph_of(net, card, cfg), cfg)[cfg.quantize or EXACT])
    size = Size.parse(str(cfg.size))
    task_of(cfg, size)  # raises for bad options before anything is trained
    return size, None


def network_of(run: RunFolder, cfg: ExportOptions) -> tuple[Any, dict[str, Any], str]:
    """Load a network, its card and the checkpoint's name; a run without validations has "last", no "best"."""
    task_entry_of(run.config)
    validated = cfg.checkpoint != "best" or run.checkpoint_path("best").exists()
    checkpoint = cfg.checkpoint if validated else "last"
    net: Any
    net, card = load_network(run.existing_checkpoint(checkpoint))
    if isinstance(card.get("env"), list):
        raise UserError(f"run={run.path}: does {len(card['env'])} tasks, and a file does one; export a run of one task")
    if "env" in card:
        entry_of_file(card["env"], str(run.path), cfg.env)  # imports its module if the user trusts it
    set_target_return(net, cfg.target_return, run)
    return net, card, checkpoint


def graph_of(net: Any, card: dict[str, Any], cfg: ExportOptions) -> Graph:
    """Make the graph of a network; UserError for diffusion, which is exported by another command."""
    task = MODELS.get(card["model"]).task
    if cfg.task not in (None, task):
        raise UserError(f"task={cfg.task}: run={cfg.run} was trained for task={task}; give its task, or leave it out")
    if task == "diffusion":
        raise UserError(
            f"run={cfg.run}: is of task=diffusion; python -m weit_rl.vision mode=export run=... is for those"
        )
    return GRAPHS.get(task)(net, card, cfg.batch)


def files_of(graph: Graph, cfg: ExportOptions) -> dict[str, Measured]:
    """Make and measure the file, and the quantized file if the config asks for one."""
    kind = FORMATS.get(cfg.format)
    data = {EXACT: kind.write(graph)}
    if cfg.quantize and kind.quantize:
        data[INT8] = kind.quantize(data[EXACT])
    return {name: Measured.of(kind, one, graph, cfg.threads) for name, one in data.items()}


def default_path(run: RunFolder, graph: Graph, cfg: ExportOptions) -> Path:
    """Return the path of the file if ``out`` gives none."""
    kind = graph.card["format"].split()[1]
    return run.path / f"{kind}{f'-{cfg.quantize}' if cfg.quantize else ''}{FORMATS.get(cfg.format).suffix}"


def output_paths(cfg: ExportOptions, usual: Path | None = None) -> tuple[Path, Path]:
    """Return the paths of file and report; UserError if one exists and may not be replaced."""
    if cfg.out is None and usual is not None:
        path = usual if cfg.overwrite else unused_path(usual)
        return path, report_path(path) if cfg.overwrite else unused_path(report_path(path))
    path = expand_home(str(cfg.out))
    for one in (path, report_path(path)):
        if one.is_dir() or (one.exists() and not cfg.overwrite):
            raise UserError(f"out={cfg.out}: {one} exists already; choose another name, or add overwrite=true")
    if not path.parent.is_dir():
        raise UserError(f"out={cfg.out}: there is no folder {path.parent}; make it, or choose another")
    return path, report_path(path)


def report_path(path: Path) -> Path:
    """Return the path of a file's report."""
    return path.with_name(f"{path.name}.json")

"""Evaluate a finished run again, with any number of episodes, or record a video of it."""

from __future__ import annotations

from typing import Any

from weit_rl.agents.contact_sheet import animation, contact_sheet
from weit_rl.agents.evaluation import evaluate
from weit_rl.agents.video import record_video
from weit_rl.common.errors import UserError
from weit_rl.common.output import print_line
from weit_rl.common.seeds import TEST
from weit_rl.envs.crashes import check_failure_rate
from weit_rl.envs.registry import EnvEntry, entry_of_file, env_entry
from weit_rl.options.choices import check_numbers
from weit_rl.options.evaluate_options import EvaluateOptions
from weit_rl.storage.atomic_write import unused_path, write_atomically
from weit_rl.tasks.control import result_row
from weit_rl.tasks.family_control import evaluate_tasks
from weit_rl.training.checkpoint import load_network
from weit_rl.training.device import device_of
from weit_rl.training.progress import print_table
from weit_rl.training.run_folder import RunFolder


def evaluate_run(cfg: EvaluateOptions) -> dict[str, Any]:
    """Evaluate one checkpoint of a run on test seeds, and write the result beside the run's own evaluation."""
    check_numbers(cfg)
    if cfg.run is None:
        raise UserError("run: must be given, run=RUN (a run folder), or compare=[RUN, RUN] instead")
    if cfg.fresh or cfg.out is not None:
        raise UserError("fresh, out: belong to compare=[RUN, RUN]; leave them out")
    run = RunFolder.open(cfg.run)
    net, card = policy_of(run, cfg.checkpoint, cfg)
    if "classes" in card:
        raise UserError(f"run={cfg.run}: sees images; use python -m weit_rl.vision mode=evaluate run={cfg.run}")
    if isinstance(card.get("env"), list):
        names = [entry_of_file(name, cfg.run, cfg.env).name for name in card["env"]]
        if cfg.env is None:
            return evaluate_family(run, net, names, cfg)
        if env_entry(cfg.env).name not in names:
            raise UserError(f"env={cfg.env}: run={cfg.run} does other tasks ({', '.join(names)}); name one of these")
        card = card | {"env": env_entry(cfg.env).name}
        net = net.of_task(names.index(card["env"]))
    entry = entry_of_file(card.get("env"), cfg.run, cfg.env)
    if cfg.env is not None and env_entry(cfg.env).name != entry.name:
        raise UserError(f"env={cfg.env}: run={cfg.run} is of {entry.name}; leave env out")
    if cfg.video:
        film(run, net, card, entry, cfg)
    report: dict[str, Any] = {**evaluate(net, entry, cfg.episodes, TEST.of(cfg.seed))}
    check_failure_rate(entry.name, report["failed_episodes"], cfg.episodes)
    report |= {"env": entry.name}
    return finished(run, net, report, [result_row(cfg.checkpoint, report, entry)], cfg)


def evaluate_family(run: RunFolder, net: Any, names: list[str], cfg: EvaluateOptions) -> dict[str, Any]:
    """Evaluate a network of several tasks on all of them, as :func:`evaluate_run` does."""
    if cfg.video:
        raise UserError(f"video=true: run={cfg.run} does {len(names)} tasks; name one, env={names[0]}")
    entries = [env_entry(name) for name in names]
    report = evaluate_tasks(net, entries, cfg.episodes, TEST.of(cfg.seed))
    check_failure_rate(entries[0].family, report["failed_episodes"], report["episodes"])
    rows = [{"": name, entries[0].score_name: score} for name, score in report["tasks"].items()]
    rows.append({"": f"mean ({cfg.checkpoint})", entries[0].score_name: report["score"]})
    return finished(run, net, report | {"env": names}, rows, cfg)


def finished(
    run: RunFolder, net: Any, report: dict[str, Any], rows: list[dict[str, Any]], cfg: EvaluateOptions
) -> dict[str, Any]:
    """Print the table of an evaluation, and write its report into the run's folder."""
    report |= {"checkpoint": cfg.checkpoint, "seed": cfg.seed, "target_return": float(net.target_return)}
    print_table(f"{cfg.run}", rows)  # before the file: the folder may not be writable
    name = unused_path(run.path / f"evaluation-{cfg.checkpoint}-{cfg.episodes}.json").name
    run.write_json(name, report)
    print_line(f"written: {run.path / name}")
    return report


def policy_of(run: RunFolder, checkpoint: str, cfg: EvaluateOptions) -> tuple[Any, dict[str, Any]]:
    """Load a run's network and its card, on the config's device and with the config's target return."""
    net: Any
    net, card = load_network(run.existing_checkpoint(checkpoint))
    net.to(device_of(cfg))
    set_target_return(net, cfg.target_return, run)
    return net, card


def set_target_return(net: Any, target_return: float | None, run: RunFolder) -> None:
    """Set a network's target return, unless it is None; UserError for a network without a return input."""
    if target_return is None:
        return
    if getattr(net, "rtg", "none") == "none":
        raise UserError(f"target_return={target_return}: {run.path} has a network without one; leave it out")
    net.target_return.fill_(target_return)


def film(run: RunFolder, net: Any, card: dict[str, Any], entry: EnvEntry, cfg: EvaluateOptions) -> None:
    """Write one episode as an mp4 and a contact sheet into the run's folder, and both to its TensorBoard."""
    video = unused_path(run.path / "video.mp4")
    shot = record_video(net, entry, TEST.of(cfg.seed), video)
    sheet, step = unused_path(video.with_suffix(".png")), card.get("step", run.last_step())
    write_atomically(sheet, picture := contact_sheet(shot))
    run.log_image(step, f"video/{cfg.checkpoint}", animation(shot))
    run.log_image(step, f"contact_sheet/{cfg.checkpoint}", picture)
    run.close()
    print_line(f"video: {video}, contact sheet: {sheet}")

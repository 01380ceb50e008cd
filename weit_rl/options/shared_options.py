"""Options that several commands have, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from weit_rl.options.option_fields import LAST, LATER, Options, Texts, group, option
from weit_rl.options.option_groups import BodyOptions, SweepOptions, TrainerOptions


@dataclass
class RunOptions(Options):
    """Where a run lies and what it is trained on; the last lines of ``--help``."""

    place: ClassVar[int] = LAST

    run_dir: str | None = option(None, "new folder for the run (null: runs/<name of the run>)")
    resume: str | None = option(None, "run folder to go on with")
    device: str = option("auto", "cpu, cuda, or auto: cuda if there is one")
    threads: int | None = option(
        None,
        "CPU threads (null: as many as torch chooses, of the cores this process may use)",
    )
    trainer: TrainerOptions = group(TrainerOptions)
    precision: str = option(
        "highest",
        "float32 matrix products: highest, high (TF32 on a GPU) or medium (bfloat16 ones, faster on some CPUs)",
    )


@dataclass
class EnvOptions(Options):
    """An environment, the robot's body in it, and what its policy sees."""

    env: Texts = option(
        "HalfCheetah",
        "environment by name, dmc/DOMAIN-TASK or gym:ID; or a list of bodies that share the bank, [HalfCheetah, "
        "Hopper]",
    )
    body: BodyOptions = group(BodyOptions)
    pixels: bool | int = option(
        False,
        "see 64 x 64 pixels instead of states (true), or so many, 84 (model=conv, convnext_policy, video, multimodal)",
    )


@dataclass
class ControlDataOptions(EnvOptions):
    """Trajectories to learn a policy from."""

    data: Texts = option(
        "expert",
        "level that ships (random, medium, expert), path (Minari, D4RL .hdf5, folder of .npz), or a list, [expert, "
        "PATH]",
    )
    data_episodes: int | None = option(
        None,
        "episodes there are to learn from, drawn alike in every run (null: all but those held out)",
    )
    data_weights: list[float] | None = option(
        None,
        "shares of the windows drawn from each of several sets, [3, 1] (null: by their numbers of steps)",
    )
    batch_size: int = option(32, "windows a gradient step")


@dataclass
class TargetOptions(Options):
    """The start of a network of any size, and its two stages."""

    place: ClassVar[int] = LATER

    init: str = option("weit", "where the weights come from: weit, scratch, or a rival (docs/ways.md lists them)")
    scaler_steps: int | None = option(
        None,
        "gradient steps of the initialiser's own stage (null: weit 300); 0 skips it",
    )
    train_steps: int = option(300, "gradient steps on the whole plain network; 0 skips the stage")
    grow: list[Any] | None = option(
        None,
        "sizes of the training stage by the step they begin at, [[0, 64x2], [2000, 128x3]], instead of size",
    )
    warmup: float = option(0.1, "fraction of a stage's steps for the linear warm-up")
    evaluate_every: int | None = option(
        None,
        "steps between two evaluations on the way of the training stage (null: a third of train_steps)",
    )


@dataclass
class BankOptions(Options):
    """A bank of templates, and the networks that it is pre-trained in."""

    place: ClassVar[int] = LATER

    widths: list[int] = option([64, 128], "widths of the sub-networks that are drawn")
    depths: list[int] = option([2, 3, 4, 6], "depths of the sub-networks that are drawn")
    masks: str = option(
        "drawn",
        "networks trained a step: two drawn ones (drawn), a single one (one), the full one and one drawn (full), "
        "the full one (none)",
    )
    constraint: str = option("kronecker", "how a weight is made of templates: kronecker, identity, svd, tucker")
    tile: int = option(16, "channels of a template (svd, tucker: whole weights)")
    lr: float = option(0.003, "peak learning rate")
    warmup: float = option(0.1, "fraction of the steps for the linear warm-up")
    score_sizes: list[str] = option(
        ["128x6", "128x3", "64x6", "64x2", "64x5", "192x3"],
        "sizes scored without further training, for the card",
    )
    seed: int = option(0, "seed of weights, masks and batches")


@dataclass
class ComparisonOptions(Options):
    """Cells of a comparison, and where they are worked on."""

    place: ClassVar[int] = LATER

    mode: str = option(
        "run",
        "run the cells, tune (a learning rate for each method, used by later runs), sweep (rank and masks of the "
        "bank), or report what is there",
    )
    methods: list[Any] | None = option(None, "what is compared (null: everything registered)")
    budgets: list[int] | None = option(None, "gradient steps (null: the profile's)")
    seeds: list[int] | None = option(None, "of pre-training, sources and targets (null: the profile's)")
    bank_options: dict[str, Any] = option(
        {},
        "further options of the pre-training of every bank, such as {size: 64x4, widths: [64], depths: [2, 3, 4]}; "
        "networks that methods start from have its sizes",
    )
    launcher: str = option(
        "local",
        "where the work is done: local (processes of this machine), ray (a Ray cluster), submitit (Slurm)",
    )
    launcher_options: dict[str, Any] = option(
        {},
        "of the launcher, such as {retries: 3, cpus: 2} of ray, {partition: NAME, timeout_min: 240} of submitit",
    )
    workers: int | None = option(
        None,
        "jobs at a time (null: local as many as there are cores for, else all that there is room for)",
    )
    threads: int = option(1, "CPU threads of a job")
    precision: str = option(
        "highest",
        "float32 matrix products: highest, high (TF32 on a GPU) or medium (bfloat16 ones, faster on some CPUs)",
    )
    sweep: SweepOptions = group(SweepOptions)
    report: str = option("markdown", "markdown, or html: one page with everything in it as well")

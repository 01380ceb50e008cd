"""Compare ways to compose a network's weights, and measure composing as a share of a training step.

    OMP_NUM_THREADS=1 python -m benchmarks.kernels.run > benchmarks/kernels/README.md
    python -m benchmarks.kernels.run --device cuda > benchmarks/kernels/cuda.md

All forms get the same factors. Each composes the weights of every layer of a transformer and takes their gradients back
to the factors. The forms run in turn within one run, and the ratios of medians count. On a CPU the clock is the
processor time of one thread, which other work on the machine disturbs least. On a GPU the L2 cache is flushed before
every call. Bandwidth is the bytes of the weights over the time to compose them, compared with a copy of as many bytes.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._shared.composing_forms import FORMS, Factors, Form, by_lokr, by_operator, by_product, factors
from benchmarks._shared.script import make_parser, run_script

CPU = [(64, 2, 16, 32), (128, 3, 16, 32), (128, 3, 16, 64), (128, 3, 32, 4), (128, 3, 32, 32), (256, 2, 16, 64)]
CPU += [(384, 2, 32, 16), (384, 2, 32, 32), (384, 2, 64, 8), (768, 1, 32, 4), (768, 1, 64, 32)]
GPU = [
    (192, 12, 32, 32),
    (384, 12, 32, 16),
    (384, 12, 32, 32),
    (768, 12, 32, 32),
    (768, 12, 64, 32),
    (1024, 24, 64, 64),
]
SLOW = (384, 12, 32, 32)  # the only shape of forms that take minutes to compile or to call
STEPS = (  # on a GPU: name, torch's precision of float32 products, whether autocast is on
    ("float32", "highest", False),
    ("TF32", "high", False),
    ("bfloat16 by autocast", "high", True),
)
ALLOCATED = 31 * 2**20  # bytes; a training process has freed tensors this large, so its allocator reuses memory
Job = Callable[[], Any]


def back(form: Form, x: Factors, upstream: list[Tensor]) -> None:
    """Compose and take the gradients."""
    torch.autograd.grad(form(x), x.leaves, upstream)


def ahead(form: Form, x: Factors) -> None:
    """Compose without gradients."""
    with torch.no_grad():
        form(x)


def medians(jobs: dict[str, Job], clock: Callable[[Job], float], rounds: int) -> dict[str, float]:
    """Time the jobs in turn; return the median milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 2):
        for name, job in jobs.items():
            taken = clock(job)
            if number >= 2:  # two rounds of warm-up
                times[name].append(1000 * taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def processor_time(job: Job) -> float:
    """Return the processor seconds of a job."""
    begin = time.process_time()
    job()
    return time.process_time() - begin


def on_cpu(rounds: int) -> Iterator[str]:
    """Yield the lines of the tables of a CPU."""
    torch.empty(ALLOCATED // 4).fill_(1.0)
    yield "| width, layers, tile, N | forward, ms | with backward, ms | torch.kron | einsum | product, permute |"
    yield "|---|---|---|---|---|---|"
    for shape in CPU:
        x = factors(*shape, "cpu", torch.float32)
        upstream = [torch.randn_like(w) for w in by_operator(x)]
        first = medians({n: partial(ahead, f, x) for n, f in FORMS.items()}, processor_time, rounds)
        both = medians({n: partial(back, f, x, upstream) for n, f in FORMS.items()}, processor_time, rounds)
        others = [f"{first[n] / first['operator']:.2f}, {both[n] / both['operator']:.2f}" for n in list(FORMS)[1:]]
        own = f"{first['operator']:.2f} | {both['operator']:.2f}"
        yield f"| {', '.join(map(str, shape))} | {own} | {' | '.join(others)} |"
    yield "\nTimes of the other forms are times the operator's: forward, with backward.\n"
    yield from of_a_step(rounds)


def of_a_step(rounds: int) -> Iterator[str]:
    """Yield the table of composing as a share of a training step."""
    from benchmarks._shared.training_steps import STREAMS, recorded, step_jobs
    from weit_rl.envs.registry import env_entry
    from weit_rl.tasks.control import Control, ControlConfig

    yield "| 128 x 3, batch 64, tile 16, N = 32 | dense step, ms | composed step | composing alone |\n|---|---|---|---|"
    for name, options in STREAMS.items():
        task = Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=64, model_options=options))
        dense, composed, alone, _ = medians(step_jobs(task, 32), processor_time, rounds).values()
        yield f"| {name} | {dense:.1f} | {composed / dense:.3f} | {100 * alone / dense:.1f} % |"


def gpu_clock() -> Callable[[Job], float]:
    """Return a clock of jobs on the GPU, which flushes the L2 cache before each."""
    flush = torch.empty(4 * torch.cuda.get_device_properties(0).L2_cache_size, dtype=torch.int8, device="cuda")

    def clock(job: Job) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.zero_()
        begin.record()
        job()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000

    return clock


def deit(device: str, batch: int) -> Any:
    """Return DeiT-S's task on noise: images of 224 x 224 pixels in a thousand classes."""
    from weit_rl.data.images import Images
    from weit_rl.data.images.parts import ImagesInMemory
    from weit_rl.tasks.classification import Classification, ClassificationConfig

    pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, 224, 224), np.uint8)
    part = ImagesInMemory(pixels, np.arange(batch) % 1000)
    images = Images("noise", tuple(map(str, range(1000))), part, part, part, "none")
    config = ClassificationConfig(model_options={"patch_size": 16}, tile=32, batch_size=batch, device=device)
    return Classification(images, config)


def of_a_gpu_step(clock: Callable[[Job], float], rounds: int, batch: int = 256) -> Iterator[str]:
    """Yield the table of composing as a share of a training step of DeiT-S."""
    from benchmarks._shared.training_steps import step_jobs
    from weit_rl import Size

    yield f"| DeiT-S (384 x 12), batch {batch}, tile 32, N = 32 | dense step, ms | composed step | composing alone |"
    yield "|---|---|---|---|"
    task = deit("cuda", batch)
    own = dict(list(step_jobs(task, 32, Size(384, 12)).items())[:3])  # sampling runs on the CPU
    for name, precision, autocast in STEPS:
        torch.set_float32_matmul_precision(precision)
        with torch.autocast("cuda", torch.bfloat16, autocast, cache_enabled=False):  # as training does
            dense, composed, alone = medians(own, clock, rounds).values()
        yield f"| {name} | {dense:.1f} | {composed / dense:.3f} | {100 * alone / dense:.1f} % |"
    torch.set_float32_matmul_precision("highest")


def recorded_graph(job: Job) -> Job:
    """Record a job as a CUDA graph, which replays without calls from Python."""
    job()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        job()
    return graph.replay


def same_when_replayed(dtype: torch.dtype) -> bool:
    """Return True if a recorded composition uses factors that changed in place."""
    x, made = factors(192, 2, 32, 16, "cuda", dtype), []

    def job() -> None:
        with torch.no_grad():
            made[:] = by_operator(x)

    replay = recorded_graph(job)
    with torch.no_grad():
        x.scalers[0].mul_(2)
        replay()
        return all(torch.equal(a, b) for a, b in zip(made, by_operator(x), strict=True))


def lokr_form() -> dict[str, Form]:
    """Return PEFT's form if PEFT is installed."""
    try:
        import peft  # noqa: F401
    except ImportError:
        return {}
    return {"PEFT LoKr": by_lokr}


def on_gpu(rounds: int, dtype: torch.dtype) -> Iterator[str]:
    """Yield the lines of the tables of a GPU; every form is recorded as a CUDA graph, without calls from Python."""
    clock = gpu_clock()
    yield from of_a_gpu_step(clock, max(1, rounds // 2))
    slow = {"torch.kron": FORMS["torch.kron"], "torch.compile of product": torch.compile(by_product), **lokr_form()}
    forms = {name: form for name, form in FORMS.items() if name not in slow}
    yield f"\n{dtype}; times of the other forms are times the operator's: forward, with backward.\n"
    names = ["weights, MB", "copy, GB/s", "forward, us", "of a copy", "with backward, us", "by plain calls, us"]
    names += [*forms, *slow][1:]
    yield f"| width, layers, tile, N | {' | '.join(names)} |\n{'|---' * (1 + len(names))}|"
    for shape in GPU:
        yield row(shape, dtype, forms, slow if shape == SLOW else dict.fromkeys(slow), clock, rounds)
    yield f"\nA recorded CUDA graph gives what a plain call gives: {same_when_replayed(dtype)}"


def row(shape: Any, dtype: torch.dtype, forms: Any, slow: Any, clock: Any, rounds: int) -> str:
    """Time all forms at one shape and format the row."""
    x = factors(*shape, "cuda", dtype)
    upstream = [torch.randn_like(w) for w in by_operator(x)]
    size = sum(w.numel() * w.element_size() for w in upstream)
    source, target = (torch.empty(size, dtype=torch.int8, device="cuda") for _ in range(2))
    plain = {"ahead": partial(ahead, by_operator, x), "both": partial(back, by_operator, x, upstream)}
    calls = medians(plain, clock, rounds)
    all_forms = {name: form for name, form in {**forms, **slow}.items() if form}
    first = medians(
        {"copy": recorded_graph(lambda: target.copy_(source))}
        | {n: recorded_graph(partial(ahead, f, x)) for n, f in all_forms.items()},
        clock,
        rounds,
    )
    both = medians({n: recorded_graph(partial(back, f, x, upstream)) for n, f in all_forms.items()}, clock, rounds)
    own, bandwidth = first["operator"], 2 * size / first["copy"]  # a copy moves its bytes twice
    others = (
        f"{first[n] / own:.1f}, {both[n] / both['operator']:.1f}" if n in first else "" for n in [*forms, *slow][1:]
    )
    numbers = (
        f"{size / 1e6:.1f}",
        f"{bandwidth / 1e6:.0f}",
        f"{1000 * own:.1f}",
        f"{100 * size / own / bandwidth:.0f} %",
    )
    cells = (*numbers, f"{1000 * both['operator']:.1f}", ", ".join(f"{1000 * t:.0f}" for t in calls.values()), *others)
    return f"| {', '.join(map(str, shape))} | {' | '.join(cells)} |"


def processor() -> str:
    """Return the name of the CPU."""
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        return names[0].partition(":")[2].strip() if names else platform.machine()
    return platform.processor() or platform.machine()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="bfloat16", help="on a GPU")
    arguments = parser.parse_args()
    machine = torch.cuda.get_device_name() if arguments.device == "cuda" else processor()
    dtype = f" --dtype {arguments.dtype}" if arguments.device == "cuda" else ""
    options = f"--device {arguments.device} --rounds {arguments.rounds}{dtype}"
    print(f"# Composing weights\n\n    python -m benchmarks.kernels.run {options}\n")
    print(f"{machine}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    dtype = getattr(torch, arguments.dtype)
    for line in on_cpu(arguments.rounds) if arguments.device == "cpu" else on_gpu(arguments.rounds, dtype):
        print(line, flush=True)


if __name__ == "__main__":
    run_script(main)

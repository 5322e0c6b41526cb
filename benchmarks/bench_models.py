"""How long the models take, against their own convolutions (CPU) or the card's matrix rate (GPU).

    python benchmarks/bench_models.py shares --out book/measurements/shares_cpu.json
    python benchmarks/bench_models.py rows --out book/measurements/rows_cpu.json
    python benchmarks/bench_models.py cuda --out book/measurements/models_cuda.json

The page "What does it cost?" reads these files. On a CPU every time is compared with another one:
the median of ratios of runs that follow one another, so that a machine that slows down for a while
slows down both. ``shares`` are what SSD takes beyond its convolutions, and what part of inference
decoding and suppression are: at full size, and for the networks of ``params/quick.yaml``. What DOAM
costs has one definition, the row DOAM of ``rows``: how much longer a training step of SSD300 takes
with it in front. ``rows`` are a training step of each row of Table VIII, as this project
trains it, against the plain SSD300's, and the memory that it needs; in each round every row takes a
step. Other work on a machine only ever slows a step down, so rows are compared by their fastest
step. The plain one runs twice a round: its two fastest steps say how far that can be trusted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn

from doamlib.core.memory import reuse_freed_memory
from doamlib.core.provenance import record
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import run_config
from doamlib.models.config import DetectorConfig
from doamlib.models.counting import count_layers, totals
from doamlib.models.detector import Detector, build_detector
from doamlib.models.doam import DOAMConfig

Step = Callable[[], None]
Table = dict[str, dict[str, float]]
NAMES = ("ssd", "yolov3", "fcos")
FULL_BATCH = 8
QUICK = Path(__file__).parents[1] / "params" / "quick.yaml"
ROWS = {
    "SSD": DetectorConfig(),
    "SE": DetectorConfig(attention="se"),
    "Non-local": DetectorConfig(attention="nonlocal"),
    "DA": DetectorConfig(attention="dual"),
    "DOAM": DetectorConfig(doam=DOAMConfig(gamma=0.5)),
}


def batch_of(count: int, side: int, device: str = "cpu") -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Random bytes as images, and two items of usual size in each."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    targets = []
    for _ in range(count):
        corner = torch.rand(2, 2, generator=generator) * side * 0.8
        size = (0.05 + 0.1 * torch.rand(2, 2, generator=generator)) * side
        boxes = torch.cat([corner, corner + size], dim=1).to(device)
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 2], device=device)})
    return images.to(device), targets


def training_step(detector: Detector, images: Tensor, targets: list) -> Step:
    """Forward, loss and backward; no optimiser."""

    def step() -> None:
        detector.zero_grad(set_to_none=True)
        sum(detector(images, targets).values()).backward()

    return step


def convolutions_step(detector: Detector, images: Tensor) -> Step:
    """Every convolution of the network alone, forward and backward, on tensors of its own shape."""
    calls: list[tuple[nn.Conv2d, Tensor, Tensor]] = []

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((layer, torch.rand_like(inputs[0]), torch.rand_like(output)))

    layers = [layer for layer in detector.network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        detector.network(detector.network_input(detector.pixels(images)[0]))
    for hook in hooks:
        hook.remove()

    def step() -> None:
        for number, (layer, inputs, gradient) in enumerate(calls):
            layer.zero_grad(set_to_none=True)
            # Nothing asks for the gradient of the image.
            layer(inputs.detach().requires_grad_(number > 0)).backward(gradient)

    return step


def seconds(step: Step) -> float:
    """Of one run."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(first: Step, second: Step, repeats: int) -> dict[str, float]:
    """Times of both, and the median over repeats of first / second, each pair run in a row."""
    first(), second()
    return against([(seconds(first), seconds(second)) for _ in range(repeats)])


def against(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Medians of both times, and of their ratios with the range."""
    ratios = sorted(a / b for a, b in pairs)
    return {
        "seconds": statistics.median(a for a, _ in pairs),
        "against_seconds": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "fastest": min(a for a, _ in pairs),
        "fastest_ratio": min(a for a, _ in pairs) / min(b for _, b in pairs),
    }


def decoding_share(detector: Detector, images: Tensor, repeats: int) -> dict[str, float]:
    """Share of inference that decoding and suppression take, every prior above the threshold."""
    detector.eval()
    with torch.inference_mode():
        outputs = detector.network(detector.network_input(detector.pixels(images)[0]))
        decode, whole = (lambda: detector.network.detect(outputs)), (lambda: detector(images))
        result = compare(decode, whole, repeats)
    detector.train()
    return result


def shares(repeats: int) -> Table:
    """Both questions at full size, and for the small networks of the book's default."""
    quick = from_file(QUICK)
    small = run_config(quick, ARMS["SSD"], seed=0).detector
    table = {}
    for profile, config, count in (
        ("ssd300", DetectorConfig(), FULL_BATCH),
        (f"ssd{quick.image_size} width {quick.width:g}", small, quick.batch_size),
    ):
        detector = build_detector(config, seed=0).train()
        images, targets = batch_of(count, config.image_size)
        step = training_step(detector, images, targets)
        alone = convolutions_step(detector, images)
        table[f"{profile}: step / convolutions alone"] = compare(step, alone, repeats)
        table[f"{profile}: decoding / inference"] = decoding_share(detector, images, repeats)
    return table


def rows(repeats: int) -> Table:
    """A training step of each row of Table VIII against the plain SSD300's, and its memory."""
    images, targets = batch_of(FULL_BATCH, 300)
    networks = {"plain": DetectorConfig()} | ROWS
    steps = {
        name: training_step(build_detector(config, seed=0).train(), images, targets)
        for name, config in networks.items()
    }
    for step in steps.values():
        step()
    rounds = [{name: seconds(step) for name, step in steps.items()} for _ in range(repeats)]
    return {
        name: against([(taken[name], taken["plain"]) for taken in rounds])
        | {"memory_gib": memory_of_a_step(config)}
        for name, config in ROWS.items()
    }


def memory_of_a_step(config: DetectorConfig) -> float:
    """By how many GiB a training step raises a process's memory; in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_raised_memory, (config, torch.get_num_threads()))


def _raised_memory(config: DetectorConfig, threads: int) -> float:
    torch.set_num_threads(threads)
    reuse_freed_memory()
    detector = build_detector(config, seed=0).train()
    step = training_step(detector, *batch_of(FULL_BATCH, config.image_size))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    step()
    # Not getrusage: a process starts with the largest size of the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return (peak - pages * resource.getpagesize()) / 2**30


def cuda(repeats: int) -> Table:
    """Training images a second in bfloat16, with the share of the card's measured matrix rate."""
    torch.backends.cudnn.benchmark = True
    rate = matrix_rate()
    table = {"matrix products": {"flops_per_second": rate}}
    for name in NAMES:
        for doam in (None, DOAMConfig()):
            for count in (24, 64):
                config = DetectorConfig(name=name, doam=doam)
                label = f"{name}{'+doam' if doam else ''}, batch {count}"
                table[label] = cuda_training(config, count, repeats, rate)
                print(label, json.dumps(table[label]), flush=True)
    return table


def cuda_training(
    config: DetectorConfig, count: int, repeats: int, rate: float
) -> dict[str, float]:
    """One detector at one batch size: optimiser step included."""
    torch.cuda.reset_peak_memory_stats()
    detector = build_detector(config, seed=0).cuda().train()
    images, targets = batch_of(count, detector.image_size, "cuda")
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            losses = detector(images, targets)
        sum(losses.values()).backward()
        optimizer.step()

    for _ in range(5):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    torch.cuda.synchronize()
    taken = (time.perf_counter() - start) / repeats
    peak = torch.cuda.max_memory_allocated()
    products = totals(count_layers(detector, tuple(images.shape)))["products"]
    return {
        "images_per_second": count / taken,
        "step_milliseconds": 1000 * taken,
        # Backward does the work of forward twice; two operations a product.
        "share_of_matrix_rate": 3 * 2 * products / taken / rate,
        "peak_memory_gib": peak / 2**30,
    }


def matrix_rate(side: int = 8192, repeats: int = 30) -> float:
    """Operations a second of a large bfloat16 matrix product."""
    a = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        a @ a
    torch.cuda.synchronize()
    return repeats * 2 * side**3 / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["shares", "rows", "cuda"])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--repeats", type=int, help="runs a number; default 7, or 30 on a GPU")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    measure = {"shares": shares, "rows": rows, "cuda": cuda}[arguments.mode]
    repeats = arguments.repeats or (30 if measure is cuda else 7)
    result = {
        "recorded": record(torch.device("cuda" if measure is cuda else "cpu")),
        "load_before": os.getloadavg()[0],
        "repeats": repeats,
        "batch": {"full": FULL_BATCH, "quick": from_file(QUICK).batch_size},
    }
    part = "training" if measure is cuda else arguments.mode
    result[part] = measure(repeats)
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(temporary, arguments.out)
    for label, row in result[part].items():
        print(f"{label:45}", "  ".join(f"{key} {value:.4g}" for key, value in row.items()))


if __name__ == "__main__":
    main()

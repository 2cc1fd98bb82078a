"""Everything about one GPU in a single call of under ten minutes: right first, then how fast.

    PYTHONPATH=src python benchmarks/gpu.py [--out DIR] [--minutes 9.5]
    PYTHONPATH=src python benchmarks/gpu.py --cpu --smoke      (sees that all of it runs, anywhere)

Needs torch, numpy, transformers and what the package itself imports, but no data: tokens are
random, in sequences as long as sentence pairs of novels are. First ours on the GPU is compared with
ours on the CPU in float32 (and bfloat16 with that), and with transformers; then base and large with
sequences of up to 128 and 512 are timed, training steps and the encoder alone. Contestants take
turns: unmask, the same with compiled blocks, transformers with torch's attention, with flash
attention where that can be imported, and compiled. Seconds are those between two synchronisations.
The peak is that of bfloat16 matrix products in the same run, and shares of it count what the real
tokens need, with scores of masked tokens alone. Our batches are copied from the host in every step;
the peers' are on the device already.

What fails is told in its place and takes nothing else along; what there is no time for, too. The
results are written after every case, to gpu.json in --out, in $OUT, or in benchmarks/results.
"""

import argparse
import gc
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
import transformers

# Only settings that are written down need it, and it may be missing where the GPU is.
if importlib.util.find_spec("tomli_w") is None:
    sys.modules["tomli_w"] = types.ModuleType("tomli_w")

import gpu_contestants as by
import operations
import synthetic
from unmask import hardware
from unmask.model.spec import Spec

P = ParamSpec("P")
T = TypeVar("T")
PIECES = 30_522
SIZES = {"tiny": (128, 2), "base": (768, 12), "large": (1024, 24)}
"""Width and layers."""
CASES = (("large", 128), ("base", 128), ("large", 512), ("base", 512))
TOKENS = 32_768
"""Of a step."""
BATCHES = 2
"""That are taken in turns."""
ROUNDS, STEPS = 5, 4
"""Rounds that are timed of each contestant, and steps of a round."""
WARM = 3
PEAK_SIZE, PEAK_PRODUCTS = 8192, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is done."""

    cases: tuple[tuple[str, int], ...] = CASES
    tokens: int = TOKENS
    pieces: int = PIECES
    rounds: int = ROUNDS
    steps: int = STEPS
    peak: int = PEAK_SIZE
    backend: str = "inductor"
    """Of compiled contestants."""


SMOKE = Scale(
    cases=(("tiny", 32),),
    tokens=256,
    pieces=500,
    rounds=1,
    steps=1,
    peak=64,
    backend="eager",
)


def spec_of(size: str, pieces: int) -> Spec:
    """Give the structure of a size."""
    width, layers = SIZES[size]
    heads = width // 64
    return Spec(
        width=width,
        heads=heads,
        inner=4 * width,
        layers=layers,
        pieces=pieces,
        positions=512,
        segments=2,
    )


def synchronise(device: torch.device) -> None:
    """Wait until everything is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], count: int, device: torch.device) -> float:
    """Time one of so many repetitions."""
    synchronise(device)
    begin = time.perf_counter()
    for _ in range(count):
        work()
    synchronise(device)
    return (time.perf_counter() - begin) / count


def guarded(make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | dict[str, str]:
    """Give what is made, or an error in its place, as `{"error": ...}`."""
    try:
        return make(*args, **kwargs)
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip().partition("\n")[0]
        return {"error": f"{type(error).__name__}: {text}"}


def failed(found: Any) -> bool:
    """Tell whether it is an error in the place of something."""
    return isinstance(found, Mapping) and "error" in found


def peak(device: torch.device, size: int) -> float:
    """Measure operations a second of bfloat16 products."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = [seconds(lambda: a @ b, PEAK_PRODUCTS, device) for _ in range(ROUNDS + 1)]
    return 2.0 * size**3 / statistics.median(times[1:])


def check(device: torch.device, pieces: int) -> dict[str, Any]:
    """Compare ours on the device with ours on the CPU in float32, and with transformers.

    Norms of differences in proportion to those of what is right.
    """
    spec, aim = spec_of("tiny", pieces), synthetic.objective(pieces)
    batch = synthetic.batch(aim, synthetic.lengths(64, 1024), 0)
    right = by.found_by_ours(spec, aim, batch, torch.device("cpu"), torch.float32)

    def off(found: by.Found, limit: float) -> dict[str, Any]:
        told = {
            name: float((tensor - right[name]).norm() / right[name].norm())
            for name, tensor in found.items()
        }
        return {**told, "right": max(told.values()) < limit}

    float32 = by.found_by_ours(spec, aim, batch, device, torch.float32)
    bfloat16 = by.found_by_ours(spec, aim, batch, device, torch.bfloat16)
    return {
        "float32": off(float32, 1e-4),
        "bfloat16": off(bfloat16, 3e-2),
        "transformers float32": off(by.found_by_peer(spec, batch, device), 1e-4),
    }


class Case:
    """Contestants at one size and length."""

    def __init__(self, scale: Scale, size: str, length: int, device: torch.device) -> None:
        self.scale, self.device, self.spec = scale, device, spec_of(size, scale.pieces)
        self.aim = synthetic.objective(scale.pieces)
        sizes = synthetic.lengths(length, scale.tokens)
        self.batches = [synthetic.batch(self.aim, sizes, seed) for seed in range(BATCHES)]
        self.lengths = sizes.tolist()
        spec = self.spec
        encoder = operations.encoder(self.lengths, spec.layers, spec.width, spec.inner)
        head = operations.pretraining_head(
            len(self.batches[0].labels), len(self.lengths), spec.width, spec.pieces
        )
        self.operations = {"train": 3 * (encoder + head), "forward": encoder}

    def makes(self) -> dict[str, Callable[[], by.Work]]:
        """Name the contestants, those that need no compiler first."""
        spec, batches, device = self.spec, self.batches, self.device
        every: dict[str, Callable[[], by.Work]] = {
            "unmask": lambda: by.ours(spec, self.aim, batches, device),
            "transformers": lambda: by.peer(spec, batches, device),
        }
        if by.flash():
            every["transformers, flash attention"] = lambda: by.peer(
                spec, batches, device, "flash_attention_2"
            )
        backend = self.scale.backend
        every["unmask, compiled"] = lambda: by.ours(spec, self.aim, batches, device, backend)
        every["transformers, compiled"] = lambda: by.peer(spec, batches, device, backend=backend)
        return every

    def run(self, late: Callable[[], bool]) -> dict[str, Any]:
        """Warm everyone up, then let them take turns.

        late: tells when nobody may begin any more.
        """
        ready: dict[str, by.Work] = {}
        told: dict[str, Any] = {}
        for name, make in self.makes().items():
            told[name] = {"error": "no time left"} if late() else guarded(self.warm, make)
            if not failed(told[name]):
                ready[name] = told[name].pop("work")
        for kind, count in self.operations.items():
            turns: dict[str, list[Any]] = {name: [] for name in ready}
            for _ in range(self.scale.rounds):
                for name, work in ready.items():
                    if not any(map(failed, turns[name])):
                        own = told[name]["held"]
                        turns[name].append(guarded(self.turn, work, kind, own))
            for name, every in turns.items():
                told[name][kind] = self.figures(every, count)
        return {"sequences": len(self.lengths), "tokens": sum(self.lengths), "contestants": told}

    def warm(self, make: Callable[[], by.Work]) -> dict[str, Any]:
        """Make a contestant and let it do everything a few times."""
        before, begin = held(self.device), time.perf_counter()
        work = make()
        for _ in range(WARM):
            work.train()
            work.forward()
        synchronise(self.device)
        own = held(self.device) - before
        return {"work": work, "warm_seconds": time.perf_counter() - begin, "held": own}

    def turn(self, work: by.Work, kind: str, own: int) -> dict[str, float]:
        """Let a contestant do one kind of work; own: what of the memory at rest is its own."""
        others = held(self.device) - own
        todo = {"train": work.train, "forward": work.forward}[kind]
        todo()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        taken = seconds(todo, self.scale.steps, self.device)
        most = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else 0
        return {"seconds": taken, "memory": most - others}

    def figures(self, turns: list[Any], count: float) -> dict[str, Any]:
        """Put the turns of a contestant together; the first error stands for all."""
        for turn in turns:
            if failed(turn):
                return dict(turn)
        times, tokens = [turn["seconds"] for turn in turns], sum(self.lengths)
        return {
            "seconds": times,
            "tokens_per_second": tokens / statistics.median(times),
            "spread": [tokens / max(times), tokens / min(times)],
            "operations_per_second": count / statistics.median(times),
            "memory": max(turn["memory"] for turn in turns),
        }


def run_case(
    scale: Scale, size: str, length: int, device: torch.device, late: Callable[[], bool]
) -> dict[str, Any]:
    """Run a case; nothing of it is kept."""
    return Case(scale, size, length, device).run(late)


def held(device: torch.device) -> int:
    """Give the bytes of the device that are in use."""
    return torch.cuda.memory_allocated() if device.type == "cuda" else 0


def show(name: str, case: Mapping[str, Any], most: float) -> None:
    """Print what a case came to."""
    for contestant, told in case["contestants"].items():
        for kind in ("train", "forward"):
            one = told if failed(told) else told[kind]
            if failed(one):
                print(f"{name} {contestant}, {kind}: {one['error']}", flush=True)
                continue
            print(
                f"{name} {contestant}, {kind}: {one['tokens_per_second']:,.0f} tokens/s,"
                f" {one['operations_per_second'] / 1e12:.0f} TFLOP/s"
                f" ({one['operations_per_second'] / most:.0%} of the peak),"
                f" {one['memory'] / 2**30:.1f} GiB",
                flush=True,
            )


def main() -> None:
    """Do everything, and write down what there is after every part."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    usual = os.environ.get("OUT") or Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=Path(usual))
    parser.add_argument("--minutes", type=float, default=9.5, help="after which nobody begins")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    scale = SMOKE if options.smoke else Scale()
    if options.cpu:
        device = torch.device("cpu")
    else:
        device = hardware.device()
        if device.type == "cpu":
            raise SystemExit("There is no GPU here; --cpu --smoke shows that everything runs.")
    content: dict[str, Any] = {
        "device": hardware.describe(device),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "cases": {},
    }

    def late() -> bool:
        return time.monotonic() > deadline

    def write() -> None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu.json").write_text(json.dumps(content, indent=1) + "\n")

    content["check"] = guarded(check, device, scale.pieces)
    print(json.dumps(content["check"], indent=1), flush=True)
    content["peak"] = peak(device, scale.peak)
    for size, length in scale.cases:
        name = f"{size} {length}"
        found = guarded(run_case, scale, size, length, device, late)
        content["cases"][name] = found
        write()
        if not failed(found):
            show(name, found, content["peak"])
        gc.collect()
        torch.compiler.reset()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    content["peak_at_the_end"] = peak(device, scale.peak)
    write()


if __name__ == "__main__":
    main()

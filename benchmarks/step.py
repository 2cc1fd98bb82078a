"""Times the training step on the CPU: forward, backward and update of a BERT on one packed batch.

    python benchmarks/step.py --size mini [--kernel padded] [--dropout 0.1] [--profile]

The batch has the lengths of sentence pairs: most are full, the rest anything shorter.
"""

import argparse
import statistics
import time

import torch

import synthetic
from unmask import hardware
from unmask.families.bert import FAMILY
from unmask.model.attention import Attention
from unmask.model.kernels import KERNELS
from unmask.model.network import Network
from unmask.model.spec import Spec

SIZES = {
    "tiny": (128, 2),
    "mini": (256, 4),
    "small": (512, 4),
    "medium": (512, 8),
    "base": (768, 12),
}


def build(arguments: argparse.Namespace) -> Network:
    width, layers = SIZES[arguments.size]
    spec = Spec(
        width=width,
        heads=width // 64,
        inner=4 * width,
        layers=layers,
        pieces=arguments.vocabulary,
        positions=512,
        segments=2,
    )
    network = FAMILY.network(spec, "pretraining")
    network.initialise(torch.Generator().manual_seed(0))
    network.set_dropout(arguments.dropout)
    for module in network.modules():
        if isinstance(module, Attention) and arguments.kernel:
            names = {type(kernel).__name__.lower(): kernel for kernel in KERNELS}
            module.kernels = (names[arguments.kernel],)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--kernel")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--vocabulary", type=int, default=30_000)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--glibc", action="store_true", help="leave the allocator as it is")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.glibc:
        hardware.keep_memory()
    network = build(arguments)
    objective = synthetic.objective(arguments.vocabulary)
    data = synthetic.batch(objective, synthetic.lengths(arguments.length, arguments.tokens), 0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=not arguments.float32):
            parts = objective.loss(network.encoder, network.head, data)
        sum(part.total / data.counts[name] for name, part in parts.items()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    if arguments.profile:
        with torch.profiler.profile() as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=30))
    # On one thread the time of the processor is free of what else runs on the machine.
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    times: list[float] = []
    while sum(times) < arguments.seconds:
        begin = clock()
        step()
        times.append(clock() - begin)
    total = len(data.tokens.ids)
    median, best = statistics.median(times), min(times)
    print(vars(arguments))
    print(f"{total} tokens, {median * 1e3:.1f} ms (best {best * 1e3:.1f}),", end=" ")
    print(f"{total / median:,.0f} tokens/s (best {total / best:,.0f})")


if __name__ == "__main__":
    main()

"""Fine-tuning on questions (SQuAD, windows of 384) beside transformers: steps in turns.

    python benchmarks/questions.py [--steps 2] [--threads 2]

All start from all-MiniLM-L6-v2 with the same settings, those of the study (finetuning.py): 32
windows a step. Contestants: what `unmask finetune` repeats; transformers' example script as it
comes, in float32 with every window filled up to the limit, its own allocator and threads; the same
in our environment with bfloat16 autocast, each batch filled up to its longest window, drawn at
random or from windows of like lengths (`group_by_length`). Each round takes the same number of
steps of everyone, evenly drawn from its first fifty. Before anything is timed, the losses of the
first windows are compared, with dropout 0 and one and the same head: in float32, and in each
one's own precision. Real tokens count. Written to benchmarks/results/questions.json.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

import filing
from encoding_data import WIDTH, start
from job import Answers
from peak import PEAKS, beside_peaks
from turns import Contestant, Turns, finish, take_turns

CLOSE = {"float32": 1e-4, "own": 2e-2}
"""By how much losses may differ, in proportion."""
PEERS = {
    "transformers float32, as it comes": "float32",
    "transformers bfloat16": "bfloat16",
    "transformers bfloat16, grouped by length": "grouped",
}
"""Their settings in finetuning_peer.py."""
COMPARED = 8
"""Windows whose losses are compared."""
FIRST = 50
"""Steps of which those that are timed are drawn: as many as are sorted by length together."""


def head() -> tuple[Tensor, Tensor]:
    """Draw the one head that losses are compared with: (2, W) and (2,)."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(2, WIDTH, generator=generator), torch.zeros(2)


def contestants(steps: int) -> list[Contestant]:
    """Name everyone who takes part."""
    ours = Contestant(name="unmask", job="questions_ours:unmask", options={"steps": steps})
    theirs = [
        Contestant(
            name=name,
            job="questions_peers:transformers",
            options={"setting": setting, "steps": steps},
            as_it_comes=name.endswith("as it comes"),
        )
        for name, setting in PEERS.items()
    ]
    return [ours, *theirs, *PEAKS]


def compared(found: Mapping[str, Answers]) -> dict[str, str]:
    """See who finds another loss than the first one does in float32."""
    wrong: dict[str, str] = {}
    right = next(iter(found.values()), {})
    for name, answers in found.items():
        for kind, limit in CLOSE.items():
            told = f"{kind} loss {float(answers[kind]):.5f}"
            print(f"  {name}: {told}", flush=True)
            if not abs(float(answers[kind] / right["float32"]) - 1) < limit:
                wrong[name] = f"{told}, not {float(right['float32']):.5f}"
    return wrong


def main() -> None:
    """Let the contestants take turns."""
    parser = filing.options(__doc__)
    parser.add_argument("--steps", type=int, default=2, help="of each in a round")
    options = parser.parse_args()
    assert start().exists()

    def file(turns: Turns) -> None:
        content = {"steps": options.steps, **beside_peaks(turns)}
        filing.write("questions", content, options.out)

    turns = take_turns(contestants(options.steps), options.rounds, options.threads, compared, file)
    file(turns)
    for name, one in beside_peaks(turns)["contestants"].items():
        memory = one["memory"] / 2**20
        print(f"{name:42} {one['tokens_per_second']:7,.0f} tokens/s  {memory:6,.0f} MiB")
    finish(turns.failed)


if __name__ == "__main__":
    main()

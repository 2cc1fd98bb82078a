"""Our side of the fine-tuning study: `unmask.finetune` and its clock."""

from typing import Any

from finetuning_clock import Steps
from finetuning_data import Work


def run(work: Work, seed: int, limit: int | None = None) -> dict[str, Any]:
    """Fine-tune and score once."""
    raise SystemExit("`unmask.finetune` is not there yet")


def steps(work: Work, count: int) -> Steps:
    """Make ready to take steps of the first batches, for the clock."""
    raise SystemExit("`unmask.finetune` is not there yet")

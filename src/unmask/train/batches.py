"""The data of an optimizer step: micro-batches, and where the stream stands behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unmask.contracts import Movable
from unmask.errors import UserError
from unmask.train.recipe import Data, Phase


@dataclass(frozen=True, slots=True)
class StepData:
    """What one rank needs for one step."""

    batches: Sequence[Movable]
    """Micro-batches."""
    counts: Mapping[str, float]
    """Terms of each loss in them, or their weights."""
    tokens: int
    """Tokens of the step, on all ranks."""
    state: dict[str, Any]
    """Of the stream, behind them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How a step is cut into micro-batches: the same step for any number of ranks."""

    accumulate: int
    """Micro-batches of a step on each rank."""
    tokens: int
    """Token budget of a micro-batch."""
    sequences: int | None
    """Sequences of a micro-batch, where the recipe counts sequences."""

    @classmethod
    def of(cls, data: Data, phase: Phase, ranks: int) -> "Sizes":
        """Divide a step among ranks and micro-batches; raises UserError when that is uneven."""
        if data.batch_sequences is not None:
            limit = min(data.micro_tokens // phase.length, data.batch_sequences)
            fits = [n for n in range(1, limit + 1) if data.batch_sequences % (n * ranks) == 0]
            if not fits:
                raise UserError(
                    f"data.batch_sequences {data.batch_sequences} cannot be shared by {ranks}"
                    f" ranks; make it a multiple of {ranks}"
                )
            accumulate = data.batch_sequences // (fits[-1] * ranks)
            return cls(accumulate=accumulate, tokens=fits[-1] * phase.length, sequences=fits[-1])
        assert data.batch_tokens is not None
        micro = min(data.micro_tokens, data.batch_tokens // ranks)
        if data.batch_tokens % (micro * ranks) or micro < phase.length:
            raise UserError(
                f"data.batch_tokens {data.batch_tokens} must be a multiple of data.micro_tokens"
                f" {data.micro_tokens} times the number of ranks, {ranks}"
            )
        return cls(accumulate=data.batch_tokens // (micro * ranks), tokens=micro, sequences=None)

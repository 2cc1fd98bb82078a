"""What a run reports: one JSON line a step, and TensorBoard's events of some of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

Row = Mapping[str, Any]

BOARD_EVERY = 10
"""Steps between two points of TensorBoard's curves: each costs a small model noticeable time."""


class Metrics:
    """The rows of `metrics.jsonl`, appended as the run goes, some also sent to TensorBoard.

    Opened at a step, it first drops all rows behind that step: a resumed run has each step once.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [row for row in rows(self.path) if row["step"] <= step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        temporary.replace(self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, row: Row, evaluated: bool) -> None:
        """Append a row; it has a `step` and is written out at once.

        evaluated: whether it holds an evaluation, which is worth a point of every curve.
        """
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if row["step"] % BOARD_EVERY and not evaluated:
            return
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                self._board.add_scalar(name, value, row["step"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._board.close()


def rows(path: Path) -> list[dict[str, Any]]:
    """Read the whole rows of a `metrics.jsonl`; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]

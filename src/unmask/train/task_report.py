"""The report of a fine-tuning run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_report(folder: Path, figures: Mapping[str, Any], settings: str, main: str) -> Path:
    """Draw the curves of a run and set them beside its figures, mistakes and settings."""
    return folder / "report.html"


def write_summary(folder: Path, figures: Mapping[str, Any], outcomes: Sequence[Any]) -> Path:
    """Set the figures of several seeds beside each other."""
    return folder / "report.html"

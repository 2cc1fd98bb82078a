"""Signatures: how figures were found, where that is a matter of choice."""

from typing import Protocol, runtime_checkable

from unmask.contracts import Metric


@runtime_checkable
class Signed(Protocol):
    """Figures that depend on choices, which are told with them."""

    def signature(self) -> str:
        """Tell by what tool, of which version, and how the figures were found."""
        ...


def signature(metric: Metric) -> str | None:
    """Give the signature of a metric; None of one whose figures leave no choice."""
    return metric.signature() if isinstance(metric, Signed) else None

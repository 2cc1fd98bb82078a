"""The rows of the table of speed: ours beside one peer, at one work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Contestants = Mapping[str, Mapping[str, Any]]
Spread = tuple[float, float, float]
"""The median, the lowest, the highest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Ours beside one peer, at one work."""

    work: str
    against: str
    ours: Spread
    theirs: Spread
    unit: str = "/s"
    """Of both: real tokens a second, or seconds."""
    ratio: float | None
    """How many times as fast ours is; None where the peer answers something else."""
    target: float | None = None
    share: float | None = None
    """Of the bfloat16 peak, ours."""
    share_target: float | None = None
    memory: tuple[int, int] | None = None
    """Peak bytes of ours, and of the peer."""
    rounds: int | None = None
    """That the peer was timed in."""

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None where there is none."""
        aims = [(self.ratio, self.target), (self.share, self.share_target)]
        judged = [is_ >= aim for is_, aim in aims if is_ is not None and aim is not None]
        return all(judged) if judged else None


def beside(
    work: str,
    against: str,
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    target: float | None = None,
    share_target: float | None = None,
) -> Row:
    """Compare two that are filed with tokens a second."""
    counts = theirs.get("counts", True)
    return Row(
        work=work,
        against=against,
        ours=_speeds(ours),
        theirs=_speeds(theirs),
        ratio=ours["tokens_per_second"] / theirs["tokens_per_second"] if counts else None,
        target=target if counts else None,
        share=ours.get("share_of_peak"),
        share_target=share_target,
        memory=(ours["memory"], theirs["memory"]),
        rounds=theirs.get("rounds"),
    )


def _speeds(one: Mapping[str, Any]) -> Spread:
    middle = one["tokens_per_second"]
    low, high = one.get("spread", (middle, middle))
    return middle, low, high


def in_seconds(
    work: str, against: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], target: float
) -> Row:
    """Compare two that are filed with the seconds of their rounds."""
    times = [(one["median"], min(one["seconds"]), max(one["seconds"])) for one in (ours, theirs)]
    return Row(
        work=work,
        against=against,
        ours=times[0],
        theirs=times[1],
        unit="s",
        ratio=theirs["median"] / ours["median"],
        target=target,
        memory=(ours["memory"], theirs["memory"]),
        rounds=len(theirs["seconds"]),
    )


def fastest(
    contestants: Contestants, name: str, fits: Callable[[str], bool] = lambda full: True
) -> str | None:
    """Name the fastest form of a library that counts and fits; None where there is none."""
    forms = [
        full
        for full, one in contestants.items()
        if not name or full.split()[0].rstrip(",") == name
        if one.get("counts", True) and fits(full)
    ]
    return max(forms, key=lambda full: contestants[full]["tokens_per_second"], default=None)

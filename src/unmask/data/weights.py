"""Class weights: how much an example counts in training, by its label."""

from collections.abc import Mapping

from unmask.errors import UserError


def weigh(
    wanted: Mapping[str, float] | str | None, labels: tuple[str, ...], counts: Mapping[str, int]
) -> tuple[float, ...] | None:
    """Weigh labels as told by name, or, where that is `balanced`, in inverse proportion to counts.

    Balanced, all labels that occur count the same together, and the mean weight of an example
    is 1. Raises UserError where the names are not those of the labels.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        assert wanted == "balanced", "the only rule there is"
        seen = [name for name in labels if counts[name]]
        share = sum(counts[name] for name in seen) / len(seen)
        return tuple(share / counts[name] if counts[name] else 1.0 for name in labels)
    if set(wanted) != set(labels):
        raise UserError(
            f"class weights are given for {', '.join(wanted)}; the labels are {', '.join(labels)}"
        )
    return tuple(float(wanted[name]) for name in labels)

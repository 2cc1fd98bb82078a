"""One table of tensor names for both directions: ours and those of a checkpoint."""

from collections.abc import Mapping

OLD = {"gamma": "weight", "beta": "bias"}
"""What checkpoints converted from TensorFlow call a norm's scale and shift."""


class Names:
    """Pairs of module paths, ours and theirs; `*` stands for the number of a layer."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._theirs = dict(table)
        self._ours = {theirs: ours for ours, theirs in table.items()}
        assert len(self._ours) == len(self._theirs), "two of our modules share a name of theirs"

    def theirs(self, name: str) -> str:
        """Translate the name of one of our tensors; one that the table lacks stays as it is."""
        return _translate(name, self._theirs) or name

    def ours(self, name: str) -> str | None:
        """Translate the name of a tensor of a checkpoint; None when the table lacks it."""
        module, _, leaf = name.rpartition(".")
        return _translate(f"{module}.{OLD.get(leaf, leaf)}", self._ours)


def _translate(name: str, table: Mapping[str, str]) -> str | None:
    *parts, leaf = name.split(".")
    number = next((part for part in parts if part.isdigit()), "")
    module = table.get(".".join("*" if part.isdigit() else part for part in parts))
    return None if module is None else f"{module.replace('*', number)}.{leaf}"

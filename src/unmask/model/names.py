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
        """Translate the name of one of our tensors; raises KeyError when the table lacks it."""
        return _translate(name, self._theirs)

    def ours(self, name: str) -> str | None:
        """Translate the name of a tensor of a checkpoint; None when the table lacks it."""
        module, _, leaf = name.rpartition(".")
        try:
            return _translate(f"{module}.{OLD.get(leaf, leaf)}", self._ours)
        except KeyError:
            return None


def _translate(name: str, table: Mapping[str, str]) -> str:
    module, _, leaf = name.rpartition(".")
    parts = module.split(".")
    number = next((part for part in parts if part.isdigit()), "")
    pattern = ".".join("*" if part.isdigit() else part for part in parts)
    return f"{table[pattern].replace('*', number)}.{leaf}"

"""One table of tensor names for both directions: ours and those of a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from unmask.model.spec import Spec

OLD = {"gamma": "weight", "beta": "bias"}
"""What checkpoints converted from TensorFlow call a norm's scale and shift."""


@dataclass(frozen=True, slots=True)
class Form:
    """A tensor of a checkpoint that holds one or several of ours in another form."""

    ours: tuple[str, ...]
    """Names of tensors; `*` stands for the number of a block."""
    theirs: str
    split: Callable[[Tensor], Sequence[Tensor]]
    """Makes ours of theirs."""
    join: Callable[[Sequence[Tensor]], Tensor]
    """Makes theirs of ours."""

    def numbered(self, ours: str, theirs: str) -> "Form":
        """Put the number of a block in."""
        names = tuple(name.replace("*", ours) for name in self.ours)
        return replace(self, ours=names, theirs=self.theirs.replace("*", theirs))


class Names:
    """Pairs of paths, ours and theirs, of whole modules or of single tensors.

    `*` stands for a block: in ours its number, counted from 0, and in theirs what the checkpoint
    has at that place, `blocks`.
    """

    def __init__(
        self, table: Mapping[str, str], blocks: Sequence[str], forms: Sequence[Form]
    ) -> None:
        numbers = [(str(ours), theirs) for ours, theirs in enumerate(blocks)]
        self._theirs = {
            ours.replace("*", number): theirs.replace("*", block)
            for ours, theirs in table.items()
            for number, block in (numbers if "*" in ours else [("", "")])
        }
        self._ours = {theirs: ours for ours, theirs in self._theirs.items()}
        assert len(self._ours) == len(self._theirs), "two of our modules share a name of theirs"
        self._forms = [
            form.numbered(number, block)
            for form in forms
            for number, block in (numbers if "*" in form.theirs else [("", "")])
        ]
        self._formed = {form.theirs for form in self._forms}

    def known(self, name: str) -> str | None:
        """Give a checkpoint's name of a tensor in its present form; None when it has none here."""
        module, _, leaf = name.rpartition(".")
        name = f"{module}.{OLD.get(leaf, leaf)}" if module else name
        return name if name in self._formed or _translate(name, self._ours) else None

    def theirs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name our tensors as a checkpoint does; one that the table lacks keeps its name."""
        rest, found = dict(tensors), dict[str, Tensor]()
        for form in self._forms:
            if all(name in rest for name in form.ours):
                found[form.theirs] = form.join([rest.pop(name) for name in form.ours])
        return found | {_translate(name, self._theirs) or name: t for name, t in rest.items()}

    def ours(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name a checkpoint's tensors as ours; one that the table lacks keeps its name."""
        rest, found = dict(tensors), dict[str, Tensor]()
        for form in self._forms:
            if form.theirs in rest:
                parts = form.split(rest.pop(form.theirs))
                found |= {n: t.contiguous() for n, t in zip(form.ours, parts, strict=True)}
        return found | {_translate(name, self._ours) or name: t for name, t in rest.items()}


def numbered(spec: Spec) -> list[str]:
    """Name blocks by their numbers, as nearly all checkpoints do."""
    return [str(number) for number in range(spec.blocks)]


def no_forms(spec: Spec) -> list[Form]:
    """Say that all tensors have the form that ours have."""
    return []


def _translate(name: str, table: Mapping[str, str]) -> str | None:
    if name in table:
        return table[name]
    module, _, leaf = name.rpartition(".")
    return f"{table[module]}.{leaf}" if module in table else None

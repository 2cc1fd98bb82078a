"""What a model is, in words: the README.md of its folder, and lists of its tensors."""

import re
from collections.abc import Iterable

from torch import nn

from unmask.contracts import Family
from unmask.model.spec import Spec


def card(family: Family, spec: Spec, head: str, network: nn.Module) -> str:
    """Write what is certain of a model, and leave the rest to its makers."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    longest = "any number of" if spec.positions is None else f"up to {spec.positions}"
    behind = f", behind an encoder\nof {spec.source.layers} layers" if spec.source else ""
    article = "An" if family.name[0] in "aeiou" else "A"
    library, opened = "unmask", "Saved and opened by unmask;\n`transformers` has no such model"
    if family.peer:
        library = "transformers"
        opened = f"Saved by unmask; `transformers` opens it\nas `{family.heads[head].architecture}`"
    return f"""---
library_name: {library}
tags: [{family.name}, unmask]
---
# {article} {family.name} of {parameters:,} parameters

{spec.layers} layers of width {spec.width} with {spec.heads} attention heads{behind}, sequences of
{longest} tokens, a vocabulary of {spec.pieces:,}. {opened}.

What it was trained on, and what it must not be used for, is for its makers to add here.
"""


def alike(names: Iterable[str]) -> str:
    """List names of tensors, those that several layers have once, with how many they are."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\.\d+\.", ".*.", name), []).append(name)
    return ", ".join(
        f"{len(found)} x {name}" if len(found) > 1 else found[0] for name, found in groups.items()
    )

"""What a model is made of: its parameters, component by component."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text

from unmask import config
from unmask.exchange import huggingface
from unmask.model.network import Network
from unmask.train.aims import head_of
from unmask.train.recipe import load_recipe
from unmask.train.structure import family_of, structure

TITLES: Mapping[str, str] = {
    "embeddings.piece": "token embeddings",
    "embeddings.segment": "segment embeddings",
    "embeddings.position": "position embeddings",
    "embeddings": "what stands for unseen tokens",
    "embeddings.language": "language embeddings",
    "embeddings.norm": "norm of the embeddings",
    "embeddings.projection": "projection to the width",
    "norm": "norm",
    "head.following": "bias of the tokens' scores",
    "head.masked": "bias of the tokens' scores",
    "head.masked.transform": "transform before the scores",
    "head.masked.norm": "norm before the scores",
    "head.pooler.dense": "pooler of [CLS]",
    "head.pair": "next-sentence scores",
}
"""What people call a component; the others go by the names of their modules."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """A module that holds parameters itself."""

    name: str
    """Its path in the network."""
    shapes: Sequence[tuple[int, ...]]
    """Of each of its tensors."""
    parameters: int
    """Their elements, all together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """All components of a network."""

    components: Sequence[Component]
    """In the order of the network."""
    layers: int
    """How many blocks it has; each is like the first."""

    @classmethod
    def of(cls, network: Network) -> "Parameters":
        """Count those of a network, which may be on the meta device."""
        tensors = {
            name.removeprefix("encoder."): list(module.parameters(recurse=False))
            for name, module in network.named_modules()
        }
        components = [
            Component(
                name=name,
                shapes=[tuple(tensor.shape) for tensor in held],
                parameters=sum(tensor.numel() for tensor in held),
            )
            for name, held in tensors.items()
            if held
        ]
        return cls(components=components, layers=len(network.encoder.blocks))

    def total(self, *beginnings: str) -> int:
        """Add up the components whose names begin with one of these; all without any."""
        return sum(
            one.parameters for one in self.components if one.name.startswith(beginnings or "")
        )

    @property
    def encoder(self) -> int:
        """All but the heads, with the pooler, as it is usually quoted."""
        return self.total() - self.total("head.") + self.total("head.pooler.")

    def to_json(self) -> dict[str, Any]:
        """Give totals and components; `source` of an encoder-decoder is what reads the source."""
        source = self.total("source.")
        return {
            "parameters": {
                "total": self.total(),
                "encoder": self.encoder,
                "embeddings": self.total("embeddings"),
                "layer": self.total("blocks.0."),
                "layers": self.total("blocks."),
                "heads": self.total("head."),
                **({"source": source} if source else {}),
            },
            "components": [asdict(one) for one in self.components],
        }

    def __rich__(self) -> Table:
        """Show the components under their totals, a layer once."""
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
        table.add_column("component")
        table.add_column("shape")
        table.add_column("parameters", justify="right")
        layers = f"{self.layers} layers, each {self.total('blocks.0.'):,}"
        for title, every, shown in (
            ("encoder of the source", "source.", ("source.embeddings", "source.blocks.0.")),
            ("embeddings", "embeddings", "embeddings"),
            (layers, "blocks.", "blocks.0."),
            ("behind the layers", "norm", "norm"),
            ("heads", "head.", "head."),
        ):
            if self.total(every):
                table.add_row(title, "", f"{self.total(every):,}", style="bold")
                for one in self.components:
                    if one.name.startswith(shown):
                        title = TITLES.get(one.name, one.name.removeprefix("blocks.0."))
                        shapes = " + ".join(map(_shape, one.shapes))
                        table.add_row(f"  {title}", shapes, f"{one.parameters:,}")
        table.add_row("total", "", f"{self.total():,}", style="bold")
        pooler = " and its pooler" if self.total("head.pooler.") else ""
        if not self.total("source."):
            table.add_row(f"  of which the encoder{pooler}", "", f"{self.encoder:,}")
        return table


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeView:
    """A recipe: the parameters of its model and all settings."""

    recipe: str
    """Its name."""
    vocab_size: int
    """Entries of the vocabulary that the model is counted with."""
    parameters: Parameters
    settings: str
    """All settings, as TOML."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        counted = self.parameters.to_json()
        named = {"recipe": self.recipe, "vocab_size": self.vocab_size}
        return named | counted | {"settings": tomllib.loads(self.settings)}

    def __rich__(self) -> Group:
        """Show the parameters, then the settings."""
        return Group(
            Text(f"{self.recipe} with a vocabulary of {self.vocab_size:,}", style="bold"),
            Text(),
            self.parameters,
            Text(),
            Text("settings", style="bold"),
            Text(self.settings.rstrip()),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelView:
    """A checkpoint: what it is, its parameters, and what else its config.json says."""

    model: str
    """Folder or hub id."""
    about: Mapping[str, Any]
    """Family, head, structure and tokenizer."""
    parameters: Parameters
    config: Mapping[str, Any]
    """Settings in its config.json that say nothing of the structure, kept when it is saved."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        return {
            "model": self.model,
            **self.about,
            **self.parameters.to_json(),
            "config": dict(self.config),
        }

    def __rich__(self) -> Group:
        """Show what it is, then the parameters, then the rest."""
        about = Table.grid(padding=(0, 3))
        structure = self.about["spec"].items()
        for name, value in [*self.about.items(), *structure]:
            if name != "spec":
                about.add_row(name, f"{value:,}" if type(value) is int else str(value))
        rest = Table.grid(padding=(0, 3))
        for name, value in self.config.items():
            rest.add_row(name, str(value))
        titles = [Text(self.model, style="bold"), Text("also in config.json", style="bold")]
        return Group(titles[0], about, Text(), self.parameters, Text(), titles[1], rest)


def view_recipe(name: str, vocab_size: int) -> RecipeView:
    """Count the model of a recipe without building it. Raises UserError for an unknown name."""
    recipe = load_recipe(name)
    with torch.device("meta"):
        network = family_of(recipe).network(structure(recipe, vocab_size), head_of(recipe))
    return RecipeView(
        recipe=name,
        vocab_size=vocab_size,
        parameters=Parameters.of(network),
        settings=config.dump(recipe),
    )


def view_model(source: str | Path) -> ModelView:
    """Describe a checkpoint. Raises UserError for one that is not there or damaged."""
    found = huggingface.read(source)
    words = found.tokenizer
    structure = found.family.config(found.spec)
    return ModelView(
        model=str(source),
        about={
            "family": found.family.name,
            "head": found.head,
            "architecture": found.family.heads[found.head].architecture,
            "tokenizer": f"{words.name}, {words.vocab_size:,} entries" if words else "none",
            "spec": asdict(found.spec),
        },
        parameters=Parameters.of(found.network),
        config={name: value for name, value in found.config.items() if name not in structure},
    )


def _shape(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)

"""How a config.json says what a structure is made of, as a table for both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unmask.errors import UserError
from unmask.model.spec import Activation, Spec

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Their name of an activation -> ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The names of a family's settings."""

    sizes: Mapping[str, str]
    """Our name of a size -> theirs."""
    activation: str | None = None
    """Name of the activation; None where it has no such setting."""
    eps: str | None = None
    """Name of what norms add to the variance; None where it has no such setting."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What is supposed where such a setting is absent."""
    only: Mapping[str, Any] = field(default_factory=dict)
    """Settings that exist in one form here, with the value that is supposed where they are
    absent."""

    def read(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Give fields of a Spec. Raises UserError for a value that is not supported."""
        config = {**self.defaults, **config}
        for key, value in self.only.items():
            if config.get(key, value) != value:
                raise UserError(f"{key} is {config[key]!r}; only {value!r} is supported")
        found: dict[str, Any] = {ours: config.get(theirs) for ours, theirs in self.sizes.items()}
        for ours, value in found.items():
            if not isinstance(value, int) or value < 1:
                raise UserError(
                    f"{self.sizes[ours]} is {value!r}; it must be a whole number of at least 1"
                )
        if found["width"] % found["heads"]:
            raise UserError(
                f"{self.sizes['width']} {found['width']} is not a multiple of"
                f" {self.sizes['heads']} {found['heads']}"
            )
        if self.activation is not None:
            found["activation"] = _activation(self.activation, config)
        if self.eps is not None and self.eps in config:
            found["eps"] = config[self.eps]
        return found

    def write(self, spec: Spec) -> dict[str, Any]:
        """Give the settings of a structure."""
        found = {theirs: getattr(spec, ours) for ours, theirs in self.sizes.items()}
        if self.activation is not None:
            names = (theirs for theirs, ours in ACTIVATIONS.items() if ours == spec.activation)
            found[self.activation] = next(names)
        if self.eps is not None:
            found[self.eps] = spec.eps
        return found


def _activation(key: str, config: Mapping[str, Any]) -> Activation:
    name = config.get(key, "gelu")
    if name not in ACTIVATIONS:
        raise UserError(f"{key} is {name!r}; there are {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]

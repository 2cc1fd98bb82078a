"""FlauBERT, an XLM of French: Le et al. 2020, https://arxiv.org/abs/1912.05372."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unmask.contracts import Family
from unmask.families import xlm
from unmask.model.spec import Spec
from unmask.text.template import XLM


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported."""
    return replace(xlm.spec(config), norm_first=bool(config.get("pre_norm", False)))


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    return {**xlm.config(spec), "model_type": "flaubert", "pre_norm": spec.norm_first}


FAMILY = Family(
    name="flaubert",
    spec=spec,
    config=config,
    table=xlm.TABLE,
    prefix=xlm.FAMILY.prefix,
    traits=xlm.FAMILY.traits,
    copies=xlm.FAMILY.copies,
    heads=xlm.heads("Flaubert"),
    template=XLM,
    dropout=xlm.FAMILY.dropout,
)

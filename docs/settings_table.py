"""A Sphinx directive that lists settings with their defaults, out of their dataclasses."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from unmask.objectives.distillation import Distillation
from unmask.train.recipe import load_recipe
from unmask.train.tuning import load_tuning

DEFAULTS: Mapping[str, Callable[[], tuple[Any, str]]] = {
    "finetune": lambda: (load_tuning(512, {}, None, ()), ""),
    "pretrain": lambda: (load_recipe("bert-mini"), ""),
    "distill": lambda: (Distillation(), "distillation."),
}
"""What a verb's settings are where nothing is said, and what their names begin with."""


class SettingsTable(Directive):
    """`.. settings:: finetune`: a row for each setting that `--set` and `--config` know."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 30 20 50", ""]
        for row in (("setting", "default", ""), *rows(*DEFAULTS[self.arguments[0]]())):
            first, *others = row
            lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=__name__), self.content_offset, parent)
        return list(parent.children)


def rows(settings: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name each setting with dots, with its value and what it means; tables come last."""
    cls = type(settings)
    said = {one.arg_name: one.description for one in docstring_parser.parse_from_object(cls).params}
    hints = get_type_hints(cls)
    nested = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            nested.append((value, f"{prefix}{field.name}."))
        else:
            meaning = f"{said.get(field.name) or ''}{_choices(hints[field.name])}"
            yield f"``{prefix}{field.name}``", _shown(value), " ".join(meaning.split())
    for value, name in nested:
        yield from rows(value, name)


def _choices(hint: Any) -> str:
    """List the values of a setting that has a choice of them."""
    if get_origin(hint) is not Literal:
        return ""
    return " One of " + ", ".join(f"``{one}``" for one in get_args(hint)) + "."


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, list):
        value = [asdict(one) if is_dataclass(one) else one for one in value]
    if isinstance(value, bool):
        value = str(value).lower()
    return f"``{list(value) if isinstance(value, tuple) else value}``"


def setup(app: Any) -> dict[str, Any]:
    """Give Sphinx the directive."""
    app.add_directive("settings", SettingsTable)
    return {"parallel_read_safe": True}

"""The command line: one subcommand per arrow of the data flow, made of the options in `verbs`.

Nothing here imports torch; the module behind a verb is loaded when the verb runs.
"""

import argparse
import dataclasses
import difflib
import errno
import importlib
import json
import os
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import docstring_parser
from rich.table import Table

from unmask import __version__, console, verbs
from unmask.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """A subcommand: its options, where its function is, and how usage names the values."""

    options: Any
    """Dataclass of the options, their help in its docstrings."""
    function: str
    """`module:function`. The function takes the options as keywords; what it returns is printed."""
    out: str = "DIR"
    """What `--out` is."""
    shown: Sequence[str] = ()
    """Attributes to print of a result that does not say itself what it is."""

    @property
    def summary(self) -> str:
        """First sentence of the options' docstring."""
        return str(docstring_parser.parse_from_object(self.options).short_description)


VERBS: Mapping[str, Verb] = {
    "tokenizer": Verb(
        options=verbs.TokenizerOptions,
        function="unmask.text.train_tokenizer:train_tokenizer",
        shown=("vocab_size", "fingerprint"),
    ),
    "prepare": Verb(
        options=verbs.PrepareOptions, function="unmask.data.prepare:prepare", out="STORE"
    ),
    "pretrain": Verb(
        options=verbs.PretrainOptions, function="unmask.train.pretrain:pretrain", out="RUN"
    ),
    "distill": Verb(
        options=verbs.DistillOptions, function="unmask.train.distill:distill", out="RUN"
    ),
    "finetune": Verb(
        options=verbs.FinetuneOptions, function="unmask.train.finetune:finetune", out="RUN"
    ),
    "evaluate": Verb(options=verbs.EvaluateOptions, function="unmask.predict.evaluate:evaluate"),
    "predict": Verb(options=verbs.PredictOptions, function="unmask.predict.predict:predict"),
    "fill": Verb(options=verbs.FillOptions, function="unmask.predict.fill:fill"),
    "generate": Verb(options=verbs.GenerateOptions, function="unmask.predict.generate:generate"),
    "inspect": Verb(options=verbs.InspectOptions, function="unmask.inspect.verb:inspect"),
    "demo": Verb(options=verbs.DemoOptions, function="unmask.demo.verb:demo"),
}

_PLACEHOLDERS: Mapping[str, str] = {
    "texts": "TEXT",
    "stores": "STORE[=WEIGHT]",
    "text": "COLUMN",
    "subject": "TEXT_OR_STORE",
    "model": "DIR_OR_ID",
    "tokenizer": "DIR",
    "recipe": "NAME",
    "heldout": "STORE|FRACTION",
    "budget": "TIME",
    "config": "FILE.toml",
    "set": "KEY=VALUE",
    "probe": "TEXT",
    "input": "FILE",
    "output": "FILE",
    "task": "TASK",
    "train": "FILE",
    "eval": "FILE",
    "data": "FILE",
    "predictions": "FILE",
    "label": "COLUMN",
    "rate": "RATE",
    "stop": "PIECE",
}

_MENDABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0 done; 1 a failure of ours, with its traceback; 2 the user can mend it, said in one line;
    130 interrupted; 141 the reader of standard output went away.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = " ".join(["unmask", *given[:1]]) if given[:1] and given[0] in VERBS else "unmask"
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"{name}: {message}", file=sys.stderr)
            _run(given)
        sys.stdout.flush()
    except UserError as error:
        return _say(f"{name}: {' '.join(str(error).split())}", 2)
    except KeyboardInterrupt:
        return _say(f"{name}: interrupted", 130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _stdout_is_gone():
            return 141
        if isinstance(error, OSError) and error.errno in _MENDABLE:
            where = f"{error.filename}: " if error.filename else ""
            return _say(f"{name}: {where}{error.strerror}; make room or choose another place", 2)
        traceback.print_exc()
        return _say(f"{name}: this is a failure of ours; please report it with the lines above", 1)
    return 0


def _run(given: list[str]) -> None:
    """Find the verb, read its options, run it and print what it returns."""
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
    elif given[0] in ("-V", "--version"):
        print(f"unmask {__version__}")
    elif given[0] not in VERBS:
        near = difflib.get_close_matches(given[0], VERBS)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(VERBS)}"
        raise UserError(f"no command {given[0]!r}; {hint}")
    else:
        verb = VERBS[given[0]]
        options = vars(parser(given[0]).parse_intermixed_args(given[1:]))
        module, _, function = verb.function.partition(":")
        result = getattr(importlib.import_module(module), function)(**options)
        _print_result(result, verb.shown, options["json"])


def parser(name: str) -> argparse.ArgumentParser:
    """Build the parser of a verb from its options' fields, types and docstrings."""
    options = VERBS[name].options
    said = docstring_parser.parse_from_object(options)
    built = _Parser(
        prog=f"unmask {name}",
        usage=_usage(name),
        description=said.short_description,
        formatter_class=lambda prog: argparse.HelpFormatter(
            prog, max_help_position=28, width=_width()
        ),
        allow_abbrev=False,
    )
    helps = {parameter.arg_name: parameter.description or "" for parameter in said.params}
    for option in _options(name):
        built.add_argument(*option.flags, **option.settings, help=option.help(helps[option.name]))
    return built


@dataclass(frozen=True, slots=True)
class _Option:
    """A field of an options class as the command line sees it."""

    name: str
    placeholder: str
    hint: Any
    field: Field[Any]

    @property
    def positional(self) -> bool:
        """Whether it stands on the command line without its name."""
        return not self.field.kw_only and not self.field.metadata.get("flag")

    @property
    def many(self) -> bool:
        """Whether it takes any number of values."""
        return get_origin(self.hint) is list

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return (self.field.default, self.field.default_factory) == (MISSING, MISSING)

    @property
    def flags(self) -> list[str]:
        """How the command line names it."""
        return [self.name if self.positional else "--" + self.name.replace("_", "-")]

    @property
    def settings(self) -> dict[str, Any]:
        """What argparse is told about it."""
        if self.hint is bool:
            return {"action": "store_true"}
        factory = self.field.default_factory
        default = self.field.default if factory is MISSING else factory()
        settings: dict[str, Any] = {"metavar": self.placeholder}
        if default is not MISSING:
            settings["default"] = default
        if self.positional:
            count = (
                ("+" if self.required else "*") if self.many else (None if self.required else "?")
            )
            settings["nargs"] = count
        else:
            settings["required"] = self.required
            settings["action"] = "append" if self.many else "store"
        return settings | _typed(self.hint)

    @property
    def usage(self) -> str:
        """Its part of the usage line."""
        if self.positional:
            text = self.placeholder + ("..." if self.many else "")
        else:
            value = "" if self.hint is bool else f" {self.placeholder}"
            text = self.flags[0] + value
        if self.required:
            return text
        return f"[{text}]" + ("..." if self.many and not self.positional else "")

    def help(self, text: str) -> str:
        """Its explanation, with the default where that says something."""
        default = self.field.default
        shown = default not in (MISSING, None) and not isinstance(default, bool)
        return " ".join(text.replace("%", "%%").split()) + (
            f" [default: {default}]" if shown else ""
        )


def _options(name: str) -> Iterator[_Option]:
    verb = VERBS[name]
    hints = get_type_hints(verb.options)
    for field in dataclasses.fields(verb.options):
        hint = _present(hints[field.name])
        placeholder = verb.out if field.name == "out" else _PLACEHOLDERS.get(field.name, "N")
        if get_origin(hint) is Literal:
            placeholder = "|".join(get_args(hint))
        elif field.name == "text" and not field.kw_only:
            placeholder = "TEXT"
        yield _Option(field.name, placeholder, hint, field)


def _present(hint: Any) -> Any:
    """Take the type out of an optional."""
    inner = [argument for argument in get_args(hint) if argument is not NoneType]
    return inner[0] if NoneType in get_args(hint) else hint


def _typed(hint: Any) -> dict[str, Any]:
    """Say how argparse reads a value of this type."""
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    return {"type": {int: _whole, float: _number, Path: Path}.get(hint, str)}


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line, with the remedy."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}; see {self.prog} --help")


def _usage(name: str) -> str:
    parts = " ".join(option.usage.replace(" ", "\0") for option in _options(name))
    lines = textwrap.wrap(
        parts, _width() - 24, break_long_words=False, break_on_hyphens=False
    )  # options stay together with their values: the blank between them is no place to break
    indent = "\n" + " " * len(f"usage: unmask {name} ")
    return f"unmask {name} " + indent.join(lines).replace("\0", " ").replace("%", "%%")


def _overview() -> str:
    """Write what `unmask --help` shows: every verb, in the order of the data flow."""
    table = [f"  {name:<11}{verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: unmask COMMAND ...",
            "",
            "The complete BERT toolkit: from raw text to a pre-trained model to answers.",
            "",
            "commands, in the order of the work:",
            *table,
            "",
            "unmask COMMAND --help explains a command; unmask --version names the version.",
        ]
    )


def _width() -> int:
    return min(console.results().size.width, 100)


def _print_result(result: Any, shown: Sequence[str], as_json: bool) -> None:
    """Print what a verb returned: as one JSON object, or as it shows itself to people.

    A result gives its JSON by `to_json()`, a plain dataclass by its fields, any other by the
    attributes to be shown; people see its `__rich__()`, or else the same values one a line.
    """
    if as_json:
        print(json.dumps(_mapping(result, shown), ensure_ascii=False, default=str))
    elif hasattr(result, "__rich__"):
        console.results().print(result)
    else:
        grid = Table.grid(padding=(0, 2))
        for name, value in _mapping(result, shown).items():
            number = {int: "{:,}", float: "{:.5g}"}.get(type(value), "{}")
            grid.add_row(name, number.format(value))
        console.results().print(grid)


def _mapping(result: Any, shown: Sequence[str]) -> dict[str, Any]:
    if shown:
        return {name: getattr(result, name) for name in shown}
    return dict(result.to_json() if hasattr(result, "to_json") else dataclasses.asdict(result))


def _say(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status


def _stdout_is_gone() -> bool:
    """Tell whether it is standard output that nobody reads any more, and stop writing to it."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())

"""The verb `inspect`: a text, a token store, a recipe or a checkpoint, each from inside."""

import os
from pathlib import Path

from unmask.data.store import MANIFEST
from unmask.errors import UserError
from unmask.exchange.hub import locate
from unmask.inspect.parameters import ModelView, RecipeView, view_model, view_recipe
from unmask.inspect.store import StoreView, view_store
from unmask.inspect.text import TextView, view_text
from unmask.text.tokenizer import Tokenizer
from unmask.verbs import InspectOptions, verb


@verb(InspectOptions)
def inspect(options: InspectOptions) -> TextView | StoreView | RecipeView | ModelView:
    """Show one thing from inside.

    Raises UserError when there is nothing to show, more than one thing, or a text without a
    tokenizer to read it with.
    """
    subject = options.subject
    if options.recipe is not None and (subject is not None or options.model is not None):
        raise UserError("--recipe is inspected alone; leave the other things out")
    if options.recipe is not None:
        return view_recipe(options.recipe, options.vocab_size)
    if subject is None:
        if options.model is not None:
            return view_model(options.model)
        raise UserError(
            "nothing to inspect; give a text with --tokenizer DIR (or --model), a token store,"
            " --recipe NAME, or --model DIR_OR_ID"
        )
    if os.path.isdir(subject):  # a text may be too long for what pathlib takes for a path
        return _folder(subject, options)
    return view_text(subject, _tokenizer(options), options.seed)


def _folder(subject: str, options: InspectOptions) -> StoreView:
    """Show a store, and say of other folders how they are inspected."""
    folder = Path(subject)
    if not (folder / MANIFEST).exists():
        if (folder / "config.json").exists():
            raise UserError(f"{subject}: a model folder; inspect it with --model {subject}")
        if (folder / "tokenizer_config.json").exists() or (folder / "vocab.txt").exists():
            raise UserError(f"{subject}: a tokenizer; give a text and --tokenizer {subject}")
    return view_store(folder, options.seed)


def _tokenizer(options: InspectOptions) -> Tokenizer:
    """Load the tokenizer to read a text with, or say how to name one."""
    if options.tokenizer is not None:
        return Tokenizer.load(options.tokenizer)
    if options.model is not None:
        return Tokenizer.load(locate(options.model))
    missing = "a text needs a tokenizer; add --tokenizer DIR or --model DIR_OR_ID"
    if os.path.isfile(str(options.subject)):
        missing = f"{options.subject}: a file; inspect a token store made of it, or a text itself"
    raise UserError(missing)

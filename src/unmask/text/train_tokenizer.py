"""A new vocabulary from text, the same for the same text in every run."""

from collections.abc import Mapping

from unmask import console
from unmask.errors import UserError
from unmask.registry import discover
from unmask.text.sample import Sample
from unmask.text.tokenizer import Tokenizer
from unmask.verbs import TokenizerOptions, verb


@verb(TokenizerOptions)
def train_tokenizer(options: TokenizerOptions) -> Tokenizer:
    """Train a vocabulary on text, and save it with its tokenizer.

    The special tokens come first: `vocab_size` entries, fewer where the text has no more. Raises
    UserError when the text cannot be read, when there is none, when `vocab_size` is too small, or
    when a language is named to a kind that makes no difference between them.
    """
    kinds: Mapping[str, type[Tokenizer]] = discover("unmask.text.kinds", "KIND")
    kind, size = kinds[options.kind], options.vocab_size
    if size < kind.smallest:
        raise UserError(f"--vocab-size {size}: give at least {kind.smallest} entries.")
    if options.language != "en" and options.kind != "moses-bpe":
        raise UserError(f"--language {options.language}: {options.kind} reads all languages alike.")
    sample = Sample(options.texts, options.errors)
    tokenizer = kind.train(sample, options)
    tokenizer.save(options.out)
    found, files = tokenizer.vocab_size, len(sample.files)
    less = "" if found == size else " (more are not in the text)"
    many = "1 file" if files == 1 else f"{files:,} files"
    console.words().print(
        f"{options.out}: {found:,} entries{less} from {sample.size / 1e6:,.1f} MB, {many}"
    )
    return tokenizer

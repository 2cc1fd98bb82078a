"""A new WordPiece vocabulary from text, the same for the same text in every run.

The library's trainer numbers the characters of the text in the order in which a hash table gives
them, another one in every process, and ties between pairs of pieces are decided by these numbers.
Hence the characters are counted here first, and listed in a fixed order before it starts.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from rich.progress import track
from tokenizers import trainers
from tokenizers.normalizers import Normalizer

from unmask import console
from unmask.errors import UserError
from unmask.text.kinds.wordpiece import CONTINUES, LONGEST_WORD, SPECIAL, WordPiece, describe
from unmask.text.reading import TextFile, expand, read
from unmask.text.tokenizer import Tokenizer, build
from unmask.verbs import TokenizerOptions, verb

SAMPLE = 250_000_000
"""Bytes of text that are read at most: the beginning of each file, by its share of the size."""

BATCH = 1 << 20
"""Bytes of text that the trainer gets at once."""

SMALLEST = 100
"""Entries of the smallest vocabulary."""

SEEN = 2
"""How often a character or a piece must occur in the text to be listed."""

COVERAGE = 0.9995
"""Share of the text's characters that the listed ones must cover."""

_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_LONG_WORD = re.compile(rf"[^\W{_CHINESE}]{{{LONGEST_WORD + 1},}}")


@verb(TokenizerOptions)
def train_tokenizer(options: TokenizerOptions) -> Tokenizer:
    """Train a WordPiece vocabulary on text, and save it with its tokenizer.

    It is trained on at most `SAMPLE` bytes of the text. The special tokens come first, then the
    characters of the text, as they begin a word and as they continue one, then the pieces in the
    order in which they were merged: `vocab_size` entries, fewer where the text has no more. Raises
    UserError when the text cannot be read, when there is none, or when `vocab_size` is too small.
    """
    if options.vocab_size < SMALLEST:
        raise UserError(f"--vocab-size {options.vocab_size}: give at least {SMALLEST} entries.")
    words = console.words()
    files = expand(options.texts)

    def batches(doing: str) -> Iterator[list[str]]:
        shown = track(files, doing, console=words, transient=True, disable=not words.is_terminal)
        return _batches(shown, sum(file.size for file in files), options.errors)

    model = describe(SPECIAL, cased=options.cased)
    library = build({**model, "added_tokens": []})
    counts, size = _count(batches("Counting characters"), library.normalizer)
    if not counts:
        raise UserError(f"{', '.join(options.texts)}: no text in there. Name files that hold some.")
    alphabet = _alphabet(counts, options.vocab_size)
    trainer = trainers.WordPieceTrainer(
        vocab_size=options.vocab_size,
        min_frequency=SEEN,
        special_tokens=[*SPECIAL, *alphabet, *(CONTINUES + character for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    library.train_from_iterator(batches("Counting words"), trainer)
    ids = library.get_vocab(with_added_tokens=False)
    pieces = sorted(ids, key=ids.__getitem__)
    tokenizer = WordPiece(describe(pieces, cased=options.cased))
    tokenizer.save(options.out)
    less = "" if len(pieces) == options.vocab_size else " (more are not in the text)"
    many = "1 file" if len(files) == 1 else f"{len(files):,} files"
    words.print(f"{options.out}: {len(pieces):,} entries{less} from {size / 1e6:,.1f} MB, {many}")
    return tokenizer


def _batches(files: Iterable[TextFile], total: int, errors: str) -> Iterator[list[str]]:
    """Give the sample of the text, some paragraphs at once: the same whenever it is asked for."""
    batch: list[str] = []
    size = 0
    for file in files:
        share = file.size / max(total, 1) * SAMPLE
        for piece in read(file, errors):
            if share <= 0:
                break
            share -= piece.size
            # Longer words become [UNK] whatever the vocabulary, and would cost the trainer hours.
            batch.append(_LONG_WORD.sub(" ", piece.text))
            size += piece.size
            if size >= BATCH:
                yield batch
                batch, size = [], 0
    yield batch


def _count(batches: Iterable[list[str]], normalizer: Normalizer) -> tuple[Counter[str], int]:
    """Count the characters as they are after cleaning, white space aside; and the bytes before."""
    found = np.zeros(sys.maxunicode + 1, dtype=np.int64)
    size = 0
    for batch in batches:
        text = "".join(batch)
        size += len(text.encode())
        codes = np.bincount(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32))
        found[: codes.size] += codes
    counts: Counter[str] = Counter()
    for code in np.flatnonzero(found):  # cleaning treats each character by itself
        for character in normalizer.normalize_str(chr(code)).replace(" ", ""):
            counts[character] += int(found[code])
    return counts, size


def _alphabet(counts: Counter[str], vocab_size: int) -> list[str]:
    """Choose the characters to be listed, by frequency, and order them.

    As many as cover `COVERAGE` of the text, at least a thirtieth of the entries (a thousand
    of 30,000, where the text has them), at most a quarter, for each takes two. A word with another
    character becomes [UNK].
    """
    seen = [character for character, count in counts.items() if count >= SEEN] or list(counts)
    ranked = sorted(seen, key=lambda character: (-counts[character], character))
    covered = np.cumsum([counts[character] for character in ranked])
    enough = int(np.searchsorted(covered, COVERAGE * covered[-1])) + 1
    return sorted(ranked[: min(max(enough, vocab_size // 30), vocab_size // 4)])

"""A new WordPiece vocabulary from text."""

from collections.abc import Iterator

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from unmask.text.reading import expand, read
from unmask.text.tokenizer import CONTINUES, SPECIAL, Tokenizer, describe
from unmask.verbs import TokenizerOptions, verb


@verb(TokenizerOptions)
def train_tokenizer(options: TokenizerOptions) -> Tokenizer:
    """Train a tokenizer on text and save it."""

    def texts() -> Iterator[str]:
        for file in expand(options.texts):
            for piece in read(file, options.errors):
                yield piece.text

    library = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=not options.cased)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=options.vocab_size,
        special_tokens=list(SPECIAL),
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    library.train_from_iterator(texts(), trainer)
    ids = library.get_vocab()
    tokenizer = Tokenizer(describe(sorted(ids, key=ids.__getitem__), cased=options.cased))
    tokenizer.save(options.out)
    return tokenizer

"""Words and punctuation marks of a text, as BERT finds them."""

import tokenizers

_CLEANING = tokenizers.normalizers.BertNormalizer(strip_accents=False, lowercase=False)
_CUTTING = tokenizers.pre_tokenizers.BertPreTokenizer()


def words(text: str) -> list[tuple[int, int]]:
    """Find the words and punctuation marks of a text, as BERT cuts it before it makes pieces.

    A Chinese character is a word by itself. Gives the characters of each: from, up to but not
    including.
    """
    split = tokenizers.PreTokenizedString(text)
    split.normalize(_CLEANING.normalize)
    _CUTTING.pre_tokenize(split)
    return [span for _, span, _ in split.get_splits("original", "char")]

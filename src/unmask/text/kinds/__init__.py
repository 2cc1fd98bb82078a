"""Kinds of tokenizer, a file each: the presence of a file is its registration."""

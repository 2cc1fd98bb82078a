"""Text in: reading files, splitting sentences, tokenizers."""

"""Learn to translate, from random weights: translate.py TRAIN EVAL OUT TEXT...

TRAIN and EVAL are two files of text each, with a comma between: train.en.txt,train.de.txt. Each
line of one is the translation of that line of the other.
"""

import sys

import unmask

train, evaluation, out, *texts = sys.argv[1:]
words = f"{out}/tokenizer"
unmask.train_tokenizer(train.split(","), out=words, kind="byte-bpe", vocab_size=8_000)
new = {"recipe": "transformer-tiny", "tokenizer": words}
result = unmask.finetune("translation", **new, train=train, eval=evaluation, out=f"{out}/run")
print(f"BLEU {result.metrics['bleu']:.1f} ({result.signature})")
for text, found in zip(texts, result.model.predict(texts), strict=True):
    print(f"{text}\n  {found['translation_text']}")

"""Find the texts that are closest in meaning to the first: embed_texts.py MODEL TEXT TEXT..."""

import sys

import unmask

model = unmask.Model.from_pretrained(sys.argv[1])
query, *texts = sys.argv[2:]
vectors = model.embed([query, *texts], pooling="mean", normalize=True)  # (texts, width)
closeness = vectors[1:] @ vectors[0]
for score, text in sorted(zip(closeness.tolist(), texts, strict=True), reverse=True):
    print(f"{score:.3f}  {text}")

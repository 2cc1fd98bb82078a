"""Fill the [MASK]s of texts: fill_masks.py MODEL TEXT...

MODEL is a folder or the id of a model on the hub.
"""

import sys

import unmask

model = unmask.Model.from_pretrained(sys.argv[1])
for text in sys.argv[2:]:
    print(text)
    for answer in model.fill(text, top_k=3):
        print(f"  {answer['score']:.3f}  {answer['token_str']:<12}  {answer['sequence']}")

"""Learn to find names, phrases or parts of speech: tag_words.py MODEL TRAIN EVAL OUT TEXT...

TRAIN and EVAL are in CoNLL columns: a word a line, its label last, a blank line ends a sentence.
"""

import sys

import unmask

model, train, evaluation, out, *texts = sys.argv[1:]
result = unmask.finetune("token-classification", model, train=train, eval=evaluation, out=out)
print(", ".join(f"{name} {value:.3f}" for name, value in result.metrics.items()))
for text, entities in zip(texts, result.model.predict(texts), strict=True):
    print(text)
    for entity in entities:
        print(f"  {entity['entity_group']}: {text[entity['start'] : entity['end']]}")

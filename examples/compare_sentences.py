"""Learn what one sentence says about another: compare_sentences.py MODEL TRAIN EVAL OUT A B.

TRAIN and EVAL have columns sentence1, sentence2 and label: entailment, neutral, contradiction.
"""

import sys

import unmask

model, train, evaluation, out, a, b = sys.argv[1:]
result = unmask.finetune("text-classification", model, train=train, eval=evaluation, out=out)
print(f"accuracy {result.metrics['accuracy']:.3f}")
[ranked] = result.model.predict([(a, b)], top_k=3)
for answer in ranked:
    print(f"{answer['score']:.3f}  {answer['label']}")

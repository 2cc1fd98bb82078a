"""Learn to give numbers, as for likeness: measure_similarity.py MODEL TRAIN EVAL A B.

TRAIN and EVAL have columns sentence1, sentence2 and score. Only the last two layers learn.
"""

import sys

import unmask

model, train, evaluation, a, b = sys.argv[1:]
result = unmask.finetune(
    "regression", model, train=train, eval=evaluation, rate=1e-4, set=["layers.last=2"]
)
print(f"Pearson {result.metrics['pearson']:.3f}, Spearman {result.metrics['spearmanr']:.3f}")
[answer] = result.model.predict([(a, b)])
print(f"{answer['score']:.2f}  {a} / {b}")

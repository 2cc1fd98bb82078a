"""Learn which of several endings fits: choose_endings.py MODEL TRAIN EVAL CONTEXT ENDING...

TRAIN and EVAL have columns context, choices (a list) and label (the number of the right one).
"""

import sys

import unmask

model, train, evaluation, context, *endings = sys.argv[1:]
result = unmask.finetune("multiple-choice", model, train=train, eval=evaluation, batch=8)
print(f"accuracy {result.metrics['accuracy']:.3f}")
[ranked] = result.model.predict([(context, endings)], top_k=len(endings))
for answer in ranked:
    print(f"{answer['score']:.3f}  {answer['choice']}")

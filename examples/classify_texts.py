"""Learn to label texts: classify_texts.py MODEL TRAIN EVAL OUT TEXT...

TRAIN and EVAL are files with a text and its label in each row: TSV, CSV, JSONL or Parquet.
"""

import sys

import unmask

model, train, evaluation, out, *texts = sys.argv[1:]
result = unmask.finetune("text-classification", model, train=train, eval=evaluation, out=out)
print(f"accuracy {result.metrics['accuracy']:.3f}, report in {out}/report.html")
for text, answer in zip(texts, result.model.predict(texts), strict=True):
    print(f"{answer['label']} ({answer['score']:.2f})  {text}")

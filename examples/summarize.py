"""Learn to summarise: summarize.py TASK MODEL TRAIN EVAL OUT TEXT...

TASK is `summarization`, to write summaries, or `extractive-summarization`, to take sentences out of
a text. TRAIN and EVAL are files with a document and its summary in each row: JSONL or Parquet.
"""

import sys

import unmask

task, model, train, evaluation, out, *texts = sys.argv[1:]
result = unmask.finetune(task, model, train=train, eval=evaluation, out=out)
print(", ".join(f"{name} {value:.3f}" for name, value in result.metrics.items()))
for text, found in zip(texts, result.model.predict(texts), strict=True):
    print(f"{text}\n  {found['summary_text']}")

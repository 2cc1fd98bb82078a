"""Learn to answer questions from a text: answer_questions.py MODEL TRAIN EVAL QUESTION TEXT.

TRAIN and EVAL are SQuAD files, v1.1 or v2.0; in the latter, questions may have no answer.
"""

import sys

import unmask

model, train, evaluation, question, text = sys.argv[1:]
result = unmask.finetune("question-answering", model, train=train, eval=evaluation, epochs=2)
print(f"exact match {result.metrics['exact_match']:.1f} %, F1 {result.metrics['f1']:.1f} %")
[answer] = result.model.predict([{"question": question, "context": text}])
print(f"{answer['answer']!r} ({answer['score']:.2f}), characters {answer['start']} on")

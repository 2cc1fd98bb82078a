"""Pre-train a BERT on one's own text: pretrain_own_text.py TEXT OUT [BUDGET].

TEXT is a file, a folder or a glob; a blank line ends a document, a line is a paragraph.
"""

import sys
from pathlib import Path

import unmask

text, out, budget = sys.argv[1], Path(sys.argv[2]), (sys.argv[3:] or ["10m"])[0]
unmask.train_tokenizer([text], out=out / "tokenizer", vocab_size=8_000)
unmask.prepare([text], tokenizer=out / "tokenizer", out=out / "store")
result = unmask.pretrain([str(out / "store")], out=out / "run", heldout="0.05", budget=budget)
found = result.figures
print(f"held-out loss {found['heldout_mlm_loss']:.2f}, of frequencies {found['unigram_loss']:.2f}")
print(f"model in {result.model}, report in {result.report}")

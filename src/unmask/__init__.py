"""unmask: the complete BERT toolkit, from raw text to a pre-trained model to answers."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask.data.prepare import prepare as prepare
    from unmask.errors import UserError as UserError
    from unmask.predict.evaluate import evaluate as evaluate
    from unmask.predict.model import Model as Model
    from unmask.text.train_tokenizer import train_tokenizer as train_tokenizer
    from unmask.train.distill import distill as distill
    from unmask.train.finetune import finetune as finetune
    from unmask.train.pretrain import pretrain as pretrain

__version__ = "0.1.0"

_PUBLIC = {
    "Model": "unmask.predict.model",
    "UserError": "unmask.errors",
    "distill": "unmask.train.distill",
    "evaluate": "unmask.predict.evaluate",
    "prepare": "unmask.data.prepare",
    "finetune": "unmask.train.finetune",
    "pretrain": "unmask.train.pretrain",
    "train_tokenizer": "unmask.text.train_tokenizer",
}

__all__ = [
    "Model",
    "UserError",
    "__version__",
    "distill",
    "evaluate",
    "finetune",
    "prepare",
    "pretrain",
    "train_tokenizer",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import unmask` is instant."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'unmask' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)

"""Quantises a model by NNCF, which OpenVINO advises: a process of its own, since it may fail.

    python benchmarks/encoding_quantise.py FROM.onnx TO.xml

Weights and activations of products become int8, by the spread that calibration texts give them.
"""

import json
import sys
from pathlib import Path

import nncf
import openvino

from encoding_data import FILES
from encoding_loop import filled, tokeniser


def quantise(plain: Path, path: Path) -> None:
    texts = json.loads((FILES / "texts" / "calibration.json").read_text(encoding="utf-8"))["texts"]
    rows = [filled([ids]) for ids in tokeniser()(texts)]
    made = nncf.quantize(
        openvino.Core().read_model(plain),
        nncf.Dataset(rows),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
    )
    openvino.save_model(made, path)


if __name__ == "__main__":
    quantise(Path(sys.argv[1]), Path(sys.argv[2]))

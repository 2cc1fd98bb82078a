"""The peers' files of all-MiniLM-L6-v2: exported, fused and quantised as advised.

N texts, L pieces of the longest, W width.
"""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel

from encoding_data import FILES, LAYERS, WIDTH, start
from filing import kept, printed

HEADS = 12
QUANTISE = Path(__file__).with_name("encoding_quantise.py")
NAMES = ("input_ids", "attention_mask", "token_type_ids")
MAKERS = ("torch", "transformers", "onnx", "onnxruntime", "openvino", "nncf")


class Encoder(torch.nn.Module):
    """The encoder, and the mean of its states."""

    def __init__(self) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(start(), attn_implementation="eager").eval()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give the states (N, L, W), and their normalised means (N, W)."""
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        means = (states * attention_mask[..., None].float()).sum(1)
        return states, normalize(means, dim=1)


def export() -> None:
    """Make all files once; anew where the weights or the makers are others."""
    versions = {name: _version(name) for name in MAKERS}
    weights = printed(start() / "model.safetensors")
    texts = printed(FILES / "texts" / "calibration.json")
    made_of = {"versions": versions, "weights": weights, "texts": texts}
    kept(
        FILES / "models", made_of | {"made_by": [printed(Path(__file__)), printed(QUANTISE)]}, _make
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _make(folder: Path) -> None:
    """Write `plain.onnx`, `fused.onnx` (ONNX Runtime's BERT kernels), `int8.onnx`, `int8.xml`."""
    plain, fused = folder / "plain.onnx", folder / "fused.onnx"
    ids = torch.randint(5, 1000, (2, 9))
    axes = {name: {0: "batch", 1: "length"} for name in (*NAMES, "states")}
    torch.onnx.export(
        Encoder(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(plain),
        input_names=list(NAMES),
        output_names=["states", "vectors"],
        dynamic_axes=axes | {"vectors": {0: "batch"}},
        dynamo=False,
        opset_version=17,
    )
    made = optimize_model(str(plain), "bert", num_heads=HEADS, hidden_size=WIDTH)
    counts = made.get_fused_operator_statistics()
    print(counts, file=sys.stderr)
    assert counts["Attention"] == LAYERS, "ONNX Runtime did not fuse the attention"
    made.save_model_to_file(str(fused))
    quantize_dynamic(
        str(fused),
        str(folder / "int8.onnx"),
        weight_type=QuantType.QInt8,
        per_channel=True,
        # What the fusion made is of types that ONNX's own shape inference does not know.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    _quantise(plain, folder / "int8.xml")


def _quantise(plain: Path, path: Path) -> None:
    """Let NNCF quantise for OpenVINO; where it does not, write down why, for the contestant."""
    command = [sys.executable, str(QUANTISE), str(plain), str(path)]
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        reason = f"NNCF did not quantise the model: {said}"
        path.with_suffix(".failed").write_text(reason, encoding="utf-8")


if __name__ == "__main__":
    export()

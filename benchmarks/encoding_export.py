"""The peers' files of all-MiniLM-L6-v2: exported, fused and quantised as advised."""

import sys
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from transformers import AutoModel

from encoding_data import LAYERS, WIDTH, start

HEADS = 12
NAMES = ("input_ids", "attention_mask", "token_type_ids")


class States(torch.nn.Module):
    """The encoder with its hidden states as the one result."""

    def __init__(self) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(start(), attn_implementation="eager").eval()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Give the states (N, L, W)."""
        found: torch.Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        return found


def export(folder: Path) -> None:
    """Write `plain.onnx`, `fused.onnx` (ONNX Runtime's BERT kernels) and `int8.onnx`, once."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, fused, int8 = (folder / f"{name}.onnx" for name in ("plain", "fused", "int8"))
    if not plain.exists():
        ids = torch.randint(5, 1000, (2, 9))
        axes = {name: {0: "batch", 1: "length"} for name in (*NAMES, "states")}
        torch.onnx.export(
            States(),
            (ids, torch.ones_like(ids), torch.zeros_like(ids)),
            str(plain),
            input_names=list(NAMES),
            output_names=["states"],
            dynamic_axes=axes,
            dynamo=False,
            opset_version=17,
        )
    if not fused.exists():
        made = optimize_model(str(plain), "bert", num_heads=HEADS, hidden_size=WIDTH)
        counts = made.get_fused_operator_statistics()
        print(counts, file=sys.stderr)
        assert counts["Attention"] == LAYERS, "ONNX Runtime did not fuse the attention"
        made.save_model_to_file(str(fused))
    if not int8.exists():
        # What the fusion made is of types that ONNX's own shape inference does not know.
        extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(
            str(fused),
            str(int8),
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options=extra,
        )


if __name__ == "__main__":
    export(Path(sys.argv[1]))

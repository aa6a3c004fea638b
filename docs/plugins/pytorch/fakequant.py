"""PyTorch's own quantizer as a plug-in: torch.fake_quantize_per_tensor_affine. It multiplies by the reciprocal, ties to
even, and is not meant for NaN and infinities (they become the lowest code).

    RTFQ_PYTHON=.deps/peers/bin/python rtfq-bench run --op fakequant.forward --impl ours,plugin:docs/plugins/pytorch/fakequant.py
"""
import torch


def forward(shape, x, step, y, codes):
    rows = x.shape[0]
    for row in range(rows) if shape["per_row"] else [slice(None)]:
        scale = float(step[row if shape["per_row"] else 0, 0, 0])
        result = torch.fake_quantize_per_tensor_affine(torch.from_numpy(x[row].copy()), scale, 0, -shape["qn"], shape["qp"])
        if y is not None:
            y[row] = result.numpy()
        if codes is not None:
            codes[row] = torch.round(result / scale).numpy().astype(codes.dtype)


OPERATORS = [
    {"family": "fakequant.forward", "name": "pytorch", "function": forward, "scaling": "reciprocal", "ties": "even",
     "finite_only": True},
]

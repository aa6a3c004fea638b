"""Fake-quant forward in NumPy, by division: `rtfq-bench run --op fakequant.forward --impl plugin:docs/plugins/numpy/fakequant.py`"""
import numpy as np


def forward(shape, x, step, y, codes):
    """x: [rows, groups, cols]; step: [1 or rows, 1, 1]; y and codes like x, or None."""
    low, high = np.float32(-shape["qn"]), np.float32(shape["qp"])
    with np.errstate(over="ignore"):
        v = x / step
    code = np.clip(np.rint(np.where(np.isnan(v), low, v)), low, high)
    if y is not None:
        y[...] = code * step + np.float32(0)  # a code has no sign of zero
    if codes is not None:
        codes[...] = code.astype(codes.dtype)


OPERATORS = [
    {"family": "fakequant.forward", "name": "numpy-example", "function": forward, "scaling": "division", "ties": "even"},
]

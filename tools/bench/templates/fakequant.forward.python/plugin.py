"""A fake-quant kernel of your own in Python with NumPy.

    rtfq-bench run --op @FAMILY@ --impl ours,plugin:./plugin.py

RTFQ_PYTHON names the interpreter (default: python3); it needs NumPy. Operands are arrays that share their memory with
the lab: write into them, do not bind the names anew. An output that is not wanted is None.
"""
import numpy as np


def forward(shape, x, step, y, codes):
    """x: [rows, groups, cols]; step: [1 or rows, 1, 1]; y and codes like x."""
    low, high = -shape["qn"], shape["qp"]
    v = x * (np.float32(1) / step)  # the declared rounding: multiply by the reciprocal, ties to even
    code = np.clip(np.rint(np.where(np.isnan(v), np.float32(low), v)), low, high)
    if y is not None:
        y[...] = code * step + np.float32(0)  # + 0: a code has no sign of zero
    if codes is not None:
        codes[...] = code.astype(codes.dtype)


OPERATORS = [
    {"family": "@FAMILY@", "name": "mine", "function": forward, "scaling": "reciprocal", "ties": "even"},
]

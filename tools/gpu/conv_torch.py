#!/usr/bin/env python3
"""cuDNN's times for the convolutions that `rtfq-conv --list` prints: bf16, channels last, the subnet's weights sliced out of
the full network's (a copy, what a PyTorch user does) and convolved, forward and both gradients. One JSON object a line on
standard output: device seconds, the second-level cache emptied before each, of the convolution alone and of the slicing.

  conv_torch.py SHAPES.jsonl --seconds 120
"""
import argparse
import json
import statistics
import sys
import time

import torch

ATEN = torch.ops.aten.convolution_backward


def median_seconds(function, flush, samples):
    """Device time between two events around one call, the cache emptied before it."""
    for _ in range(3):
        function()
    times = []
    graph = None
    try:  # without the host's time for the call
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            function()
    except Exception:
        graph = None
    for _ in range(samples):
        flush.amax()  # read, as ours: lines written would be emptied at the cost of what is timed
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay() if graph else function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--samples", type=int, default=9)
    a = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    flush = torch.zeros(3 * torch.cuda.get_device_properties(0).L2_cache_size // 4, dtype=torch.int32, device="cuda")
    start, last = time.time(), torch.channels_last

    def bf16(*dims):
        return torch.randn(*dims, device="cuda", dtype=torch.bfloat16).to(memory_format=last)

    for line in open(a.shapes):
        if time.time() - start > a.seconds:
            break
        z = json.loads(line)
        pad = z["filter"] // 2
        x = bf16(z["n"], z["c"], z["h"], z["h"])
        parent = bf16(z["k_parent"], z["c_parent"], z["filter"], z["filter"])
        cut = (slice(0, z["k"]), slice(0, z["c"]))
        whole = parent[cut].shape == parent.shape
        w = parent[cut].contiguous(memory_format=last)
        y = torch.nn.functional.conv2d(x, w, None, z["stride"], pad)
        g = torch.randn_like(y)
        d_parent = torch.zeros_like(parent)
        d_w = torch.randn_like(w)

        def backward(mask):
            return lambda: ATEN(g, x, w, None, [z["stride"]] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, mask)

        row = dict(z, cudnn=torch.backends.cudnn.version())
        try:
            row["forward"] = median_seconds(lambda: torch.nn.functional.conv2d(x, w, None, z["stride"], pad), flush, a.samples)
            row["dgrad"] = median_seconds(backward([True, False, False]), flush, a.samples) if z["c"] != 3 else None
            row["wgrad"] = median_seconds(backward([False, True, False]), flush, a.samples)
            row["slice"] = 0.0 if whole else median_seconds(lambda: parent[cut].contiguous(memory_format=last), flush, a.samples)
            row["scatter"] = 0.0 if whole else median_seconds(lambda: d_parent[cut].add_(d_w), flush, a.samples)
        except RuntimeError as error:
            row["error"] = str(error)[:300]
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())

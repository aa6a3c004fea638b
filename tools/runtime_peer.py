#!/usr/bin/env python3
"""The peer of tools/compare_runtimes: an int8 ResNet in ONNX Runtime or OpenVINO, the same QDQ model in both.

torchvision's ResNet with random weights, its norms folded as they are before training: every bias is zero. OpenVINO leaves
out what adds zero, so it is faster here than with a trained network. Quantized by ONNX Runtime's static quantization: u8
activations, s8 weights with a scale for each channel. Prints "ready"; then each line "RUNS" of its input is answered by a
JSON list of pairs: milliseconds by the clock, and of the process on its processors.

  runtime_peer.py --model m.onnx --arch resnet50 --res 224 --batch 1      writes the model if it is not there, or older than
                                                                          this script, and ends
  runtime_peer.py --model m.onnx --runtime onnxruntime --threads 2        serves it
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class Network:
    """Nodes and constants of a ResNet in floats."""

    def __init__(self):
        self.nodes, self.constants, self.random = [], [], np.random.default_rng(0)

    def constant(self, name, values):
        from onnx import numpy_helper
        self.constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, op, name, inputs, **attributes):
        from onnx import helper
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def conv(self, name, x, c, k, size, stride):
        spread = np.sqrt(2 / (c * size * size))
        w = self.constant(name + ".weight", self.random.standard_normal((k, c, size, size)) * spread)
        b = self.constant(name + ".bias", np.zeros(k))
        return self.node("Conv", name, [x, w, b], kernel_shape=[size, size], strides=[stride, stride],
                         pads=[size // 2] * 4, dilations=[1, 1], group=1)

    def resnet(self, arch):
        bottleneck = arch not in ("resnet18", "resnet34")
        x = self.node("Relu", "stem.relu", [self.conv("stem", "x", 3, 64, 7, 2)])
        x = self.node("MaxPool", "pool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        c = 64
        for stage, blocks in enumerate(BLOCKS[arch]):
            mid = 64 << stage
            out = mid * (4 if bottleneck else 1)
            for block in range(blocks):
                name, stride = f"s{stage}.b{block}", 2 if stage and not block else 1
                convs = [(c, mid, 1, 1), (mid, mid, 3, stride), (mid, out, 1, 1)] if bottleneck else \
                        [(c, mid, 3, stride), (mid, mid, 3, 1)]
                y = x
                for i, (cin, k, size, step) in enumerate(convs):
                    y = self.conv(f"{name}.c{i}", y, cin, k, size, step)
                    if i + 1 < len(convs):
                        y = self.node("Relu", f"{name}.r{i}", [y])
                identity = x if c == out and stride == 1 else self.conv(name + ".p", x, c, out, 1, stride)
                x = self.node("Relu", name + ".relu", [self.node("Add", name + ".add", [y, identity])])
                c = out
        x = self.node("Flatten", "flat", [self.node("GlobalAveragePool", "mean", [x])], axis=1)
        w = self.constant("fc.weight", self.random.standard_normal((1000, c)) * 0.02)
        return self.node("Gemm", "y", [x, w, self.constant("fc.bias", np.zeros(1000))], transB=1)


def build(path, arch, res, batch):
    import onnx
    from onnx import TensorProto, helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    network = Network()
    network.resnet(arch)
    tensor = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
    graph = helper.make_graph(network.nodes, arch, [tensor("x", [batch, 3, res, res])], [tensor("y", [batch, 1000])],
                              network.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    class Data(CalibrationDataReader):
        def __init__(self):
            r = np.random.default_rng(0)
            self.batches = iter([{"x": r.standard_normal((batch, 3, res, res), dtype=np.float32)} for _ in range(2)])

        def get_next(self):
            return next(self.batches, None)

    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(path))) as folder:
        plain, quantized = os.path.join(folder, "f32.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(model, plain)
        quant_pre_process(plain, plain)
        quantize_static(plain, quantized, Data(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        extra_options={"WeightSymmetric": True, "ActivationSymmetric": False})
        os.replace(quantized, path)


def runner(runtime, path, threads):
    if runtime == "onnxruntime":
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name, dims = session.get_inputs()[0].name, session.get_inputs()[0].shape
        return "ONNX Runtime " + onnxruntime.__version__, dims, lambda x: session.run(None, {name: x})
    import openvino
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return ("OpenVINO " + openvino.__version__.split("-")[0], list(compiled.inputs[0].shape),
            lambda x: request.infer({0: x}, share_inputs=True, share_outputs=True))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--arch", default="resnet50", choices=BLOCKS)
    p.add_argument("--res", type=int, default=224)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--runtime", choices=["onnxruntime", "openvino"])
    a = p.parse_args()
    if not a.runtime:
        model = pathlib.Path(a.model)
        if not model.exists() or model.stat().st_mtime < pathlib.Path(__file__).stat().st_mtime:
            build(a.model, a.arch, a.res, a.batch)
        return
    name, dims, run = runner(a.runtime, a.model, a.threads)
    x = np.random.default_rng(1).standard_normal(dims, dtype=np.float32)
    print("ready", name, flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start, cpu = time.perf_counter(), time.process_time()
            run(x)
            times.append([(time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3])
        print(json.dumps(times), flush=True)


main()

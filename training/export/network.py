"""One subnet of a bank trained by rtfq, in PyTorch: `import network; model = network.load()`.

Needs torch alone. Layers have torchvision's names, so the floating-point weights of model.safetensors load into
torchvision's ResNet too where the widths are those of one. Step sizes are the tensors "steps.NAME". In evaluation the
network computes what rtfq computes, up to the order of sums: a sum that differs in its last bit may round to the next
code. network.json says which subnet of which run this is.
"""
import json
import pathlib
import struct

import torch
from torch import nn

FOLDER = pathlib.Path(__file__).resolve().parent


class FakeQuant(nn.Module):
    """clamp(round(x * (1/step)), -qn, qp) * step, ties to even; a step for all, or one for each output channel."""

    def __init__(self, step, qn, qp):
        super().__init__()
        self.register_buffer("step", step)
        self.qn, self.qp = qn, qp

    def forward(self, x):
        step = self.step if self.step.numel() == 1 else self.step.view(-1, *[1] * (x.ndim - 1))
        return torch.clamp(torch.round(x * (1.0 / step)), -self.qn, self.qp) * step


class Block(nn.Module):
    """Convolutions and norms of one residual block; Network.forward runs them."""

    def __init__(self, layers):
        super().__init__()
        for layer in layers:
            conv = nn.Conv2d(layer["c"], layer["k"], layer["filter"], layer["stride"], layer["filter"] // 2, bias=False)
            norm = nn.BatchNorm2d(layer["k"])
            if layer["conv"].endswith("downsample.0"):
                self.downsample = nn.Sequential(conv, norm)
            else:
                self.add_module(layer["conv"].rsplit(".", 1)[-1], conv)
                self.add_module(layer["norm"].rsplit(".", 1)[-1], norm)


class Network(nn.Module):
    """As described by network.json; `tensors` are those of model.safetensors."""

    def __init__(self, description, tensors):
        super().__init__()
        self.description = description
        stem = description["stem"]
        self.conv1 = nn.Conv2d(stem["c"], stem["k"], stem["filter"], 2, stem["filter"] // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(stem["k"])
        self.pool = nn.MaxPool2d(3, 2, 1) if description["stem_pool"] else nn.Identity()
        for i, blocks in enumerate(description["stages"]):
            self.add_module(f"layer{i + 1}", nn.ModuleList(Block(block) for block in blocks))
        self.fc = nn.Linear(description["features"], description["classes"])
        self.quantizers = nn.ModuleDict()
        for name, bounds in description["quantizers"].items():
            self.quantizers[name.replace(".", "/")] = FakeQuant(tensors["steps." + name], bounds["qn"], bounds["qp"])
        weights = {name: value for name, value in tensors.items() if not name.startswith("steps.")}
        missing, unexpected = self.load_state_dict(weights, strict=False)
        left = [name for name in missing if not name.startswith("quantizers.") and not name.endswith("num_batches_tracked")]
        if left or unexpected:
            raise ValueError(f"model.safetensors does not fit network.json: missing {left}, surplus {unexpected}")
        self.eval()

    def quantize(self, name, x):
        key = name.replace(".", "/")
        return self.quantizers[key](x) if key in self.quantizers else x

    def convolve(self, conv, norm, name, x):
        weight = self.quantize(name, conv.weight)
        return norm(nn.functional.conv2d(x, weight, None, conv.stride, conv.padding))

    def codes(self, name, x):
        """What convolutions read; an unsigned quantizer clamps at zero, so it needs no ReLU."""
        return self.quantize(name, x) if self.description["quantized"] else torch.relu(x)

    def identity(self, name, x, codes):
        """What the identity path carries."""
        if not self.description["quantized"] or self.description["residual"] == "codes":
            return codes
        return torch.relu(x) if self.description["residual"] == "float" else self.quantize(name + ".identity", x)

    def forward(self, images):
        """Logits [n, classes] of normalized images [n, channels, resolution, resolution]."""
        x = self.pool(self.convolve(self.conv1, self.bn1, "stem", self.quantize("input", images)))
        output = "stem.output"
        for i, blocks in enumerate(self.description["stages"]):
            stage = getattr(self, f"layer{i + 1}")
            for j, layers in enumerate(blocks):
                block, name = stage[j], f"stage{i + 1}.block{j}"
                codes = self.codes(output, x)
                convs = [layer for layer in layers if not layer["conv"].endswith("downsample.0")]
                y = codes
                for n, layer in enumerate(convs, 1):
                    y = self.convolve(getattr(block, f"conv{n}"), getattr(block, f"bn{n}"), layer["name"], y)
                    if n < len(convs):
                        y = self.codes(f"{name}.inner{n}", y)
                if hasattr(block, "downsample"):
                    x = y + self.convolve(block.downsample[0], block.downsample[1], name + ".projection", codes)
                else:
                    x = y + self.identity(output, x, codes)
                output = name + ".output"
        if not self.description["quantized"] or self.description["residual"] == "codes":
            x = self.codes(output, x)
        else:
            x = self.identity(output, x, None)
        features = self.quantize("features", x.mean(dim=(2, 3)))
        return nn.functional.linear(features, self.quantize("classifier", self.fc.weight), self.fc.bias)


def read_safetensors(path):
    """f32 tensors of a safetensors file by name."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, begin = json.loads(data[8:8 + length]), 8 + length
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(data[begin + first:begin + last]), dtype=torch.float32)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def load(folder=FOLDER):
    """The network of this folder, for evaluation."""
    folder = pathlib.Path(folder)
    return Network(json.loads((folder / "network.json").read_text()), read_safetensors(folder / "model.safetensors"))

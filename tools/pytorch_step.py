#!/usr/bin/env python3
"""The same SandwichQ training step in PyTorch, for tools/compare_pytorch: seconds a step and peak memory, as one JSON line.

The work of tools/step_benchmark.cpp: four passes (width, pixels, bits) = (1, R, 8), (0.9, 5/7 R, 8), (0.9, 5/7 R, 6) learning from
the pass before, (0.85, 4/7 R, 4); a source and a target batch in each; one forward of an averaged teacher; SGD with Nesterov
momentum. Weights are leading slices of one set, batch norms belong to (width, bits, domain), activations and weights go through LSQ
fake-quantization, image and stem at 8 bits. Residual sums stay in floating point, which is less work than ours.

  python tools/pytorch_step.py --arch resnet50 --res 224 --batch 32 --precision bf16 --compile
"""
import argparse
import contextlib
import json
import math
import resource
import time

import torch
import torch.nn.functional as F

STAGES = {"resnet18": ((2, 2, 2, 2), 1), "resnet50": ((3, 4, 6, 3), 4)}


class StraightThrough(torch.autograd.Function):
    """round(clamp(x/s))*s; keeps x alone and finds the codes again in the backward pass."""

    @staticmethod
    def forward(ctx, x, step, low, high, scale):
        ctx.save_for_backward(x, step)
        ctx.limits = low, high, scale
        return (x / step).clamp(low, high).round().mul(step)

    @staticmethod
    def backward(ctx, gradient):
        x, step = ctx.saved_tensors
        low, high, scale = ctx.limits
        ratio = x / step
        kept = (ratio > low) & (ratio < high)
        slope = torch.where(kept, ratio.round() - ratio, ratio.clamp(low, high))
        return gradient * kept, (gradient * slope).sum(dtype=torch.float32).mul(scale).to(step.dtype), None, None, None


def quantize_fused(x, step, low, high, scale):
    """The same gradients from operations that a compiler can fuse."""
    step = step.detach() + (step - step.detach()) * scale
    ratio = (x / step).clamp(low, high)
    return (ratio + (ratio.round() - ratio).detach()) * step


class Network:
    """Parameters by name, and a forward pass for one subnet and domain."""

    def __init__(self, arch, classes, device, fused):
        self.blocks, self.expansion = STAGES[arch]
        self.fused, self.device, self.parameters, self.layers = fused, device, {}, []
        self.new_conv("stem", 3, 64, 7)
        channels = 64
        for stage, count in enumerate(self.blocks):
            mid = 64 * 2**stage
            for index in range(count):
                name, stride = f"{stage}.{index}", 2 if stage and not index else 1
                sizes = [(channels, mid, 3, stride), (mid, mid, 3, 1)]
                if self.expansion == 4:
                    sizes = [(channels, mid, 1, 1), (mid, mid, 3, stride), (mid, 4 * mid, 1, 1)]
                for i, (c, k, filter, _) in enumerate(sizes):
                    self.new_conv(f"{name}.{i}", c, k, filter)
                projects = stride == 2 or channels != mid * self.expansion
                if projects:
                    self.new_conv(f"{name}.projection", channels, mid * self.expansion, 1)
                self.layers.append((name, sizes, stride, projects))
                channels = mid * self.expansion
        self.add("classifier", torch.randn(classes, channels) / math.sqrt(channels))
        self.add("bias", torch.zeros(classes))

    def add(self, name, value):
        self.parameters[name] = value.to(self.device).requires_grad_()

    def new_conv(self, name, c, k, filter):
        weight = torch.randn(k, c, filter, filter) * math.sqrt(2 / (k * filter * filter))
        self.add(name, weight.contiguous(memory_format=torch.channels_last))
        for bits in (8, 6, 4):
            self.add(f"{name}.weight_step{bits}", torch.tensor(0.01))
            self.add(f"{name}.input_step{bits}", torch.tensor(0.05))
            for domain in range(2):
                for width in (1.0, 0.9, 0.85):
                    size = self.scaled(k, width)
                    self.add(f"{name}.scale{bits}.{domain}.{width}", torch.ones(size))
                    self.add(f"{name}.shift{bits}.{domain}.{width}", torch.zeros(size))

    @staticmethod
    def scaled(channels, width):
        return channels if width == 1 else max(16, int(channels * width / 16 + 0.5) * 16)

    def quantize(self, x, step, bits, signed):
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        function = quantize_fused if self.fused else StraightThrough.apply
        return function(x, step.to(x.dtype), low, high, 1 / math.sqrt(x.numel() * high))

    def conv(self, x, name, width, bits, domain, stride=1, image=False):
        weight = self.parameters[name]
        weight = weight[: self.scaled(weight.shape[0], width), : x.shape[1]]
        conv_bits = 8 if image else bits
        x = self.quantize(x, self.parameters[f"{name}.input_step{conv_bits}"], conv_bits, image)
        weight = self.quantize(weight, self.parameters[f"{name}.weight_step{conv_bits}"], conv_bits, True)
        y = F.conv2d(x, weight, None, stride, weight.shape[2] // 2)
        scale, shift = (self.parameters[f"{name}.{kind}{bits}.{domain}.{width}"] for kind in ("scale", "shift"))
        return F.batch_norm(y, None, None, scale, shift, training=True)

    def forward(self, x, width, bits, domain):
        x = F.max_pool2d(F.relu(self.conv(x, "stem", width, bits, domain, 2, image=True)), 3, 2, 1)
        for name, sizes, stride, projects in self.layers:
            y = x
            for i, (_, _, _, own) in enumerate(sizes):
                y = self.conv(y, f"{name}.{i}", width, bits, domain, own)
                if i + 1 < len(sizes):
                    y = F.relu(y)
            x = F.relu(y + (self.conv(x, f"{name}.projection", width, bits, domain, stride) if projects else x))
        pooled = x.mean((2, 3))
        return F.linear(pooled, self.parameters["classifier"][:, : pooled.shape[1]], self.parameters["bias"])


def cross_entropy(logits, probabilities):
    return -(probabilities * F.log_softmax(logits, 1)).sum(1).mean()


def information(logits):
    p = F.softmax(logits, 1)
    mean = p.mean(0)
    return (mean * torch.log(mean + 1e-8)).sum() - (p * F.log_softmax(logits, 1)).sum(1).mean()


class Step:
    def __init__(self, a, device):
        self.a, r = a, a.res
        self.student, self.teacher = (Network(a.arch, a.classes, device, a.compile) for _ in range(2))
        with torch.no_grad():
            for name, value in self.teacher.parameters.items():
                value.requires_grad_(False).copy_(self.student.parameters[name])
        values = list(self.student.parameters.values())
        self.optimizer = torch.optim.SGD(values, lr=2e-4, momentum=0.9, nesterov=True, weight_decay=1e-3, foreach=True)
        wrap = torch.compile if a.compile else lambda f: f
        self.ask_student, self.ask_teacher = wrap(self.student.forward), wrap(self.teacher.forward)
        level = lambda sevenths: r * sevenths // 7 // 16 * 16
        self.passes = [(1.0, r, 8), (0.9, level(5), 8), (0.9, level(5), 6), (0.85, level(4), 4)][: a.passes]
        images = lambda: torch.randn(a.batch, 3, r, r, device=device).contiguous(memory_format=torch.channels_last)
        self.source, self.target = images(), images()
        self.labels = torch.randint(a.classes, (a.batch,), device=device)
        bf16 = a.precision == "bf16"
        self.autocast = lambda: torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()

    def at(self, images, size):
        if images.shape[2] == size:
            return images
        return F.interpolate(images, size=size, mode="bilinear").contiguous(memory_format=torch.channels_last)

    def loss(self, index, taught, previous):
        width, size, bits = self.passes[index]
        with self.autocast():
            source = self.ask_student(self.at(self.source, size), width, bits, 0).float()
            target = self.ask_student(self.at(self.target, size), width, bits, 1).float()
        loss = F.cross_entropy(source, self.labels, label_smoothing=0.1) + information(target)
        if index == 0:
            sure, guess = F.softmax(target, 1).max(1)
            loss = loss + 0.1 * (F.cross_entropy(target, guess.detach(), reduction="none") * (sure > 0.9)).mean()
        else:
            loss = loss + cross_entropy(target / 0.1, taught)
        both = torch.cat((source, target))
        if index and self.passes[index - 1][:2] == (width, size):
            loss = loss + cross_entropy(both, previous)
        return loss, F.softmax(both.detach(), 1)

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad(), self.autocast():
            width, _, bits = self.passes[0]
            logits = self.ask_teacher(self.target, width, bits, 1).float()
        taught, previous = F.softmax(logits / 0.04, 1), None
        for index in range(len(self.passes)):
            loss, previous = self.loss(index, taught, previous)
            loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            pair = [(t, self.student.parameters[name]) for name, t in self.teacher.parameters.items()]
            torch._foreach_lerp_([t for t, _ in pair], [s for _, s in pair], 1 - 0.9 ** len(self.passes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=STAGES, default="resnet50")
    for name, value in {"res": 224, "batch": 32, "classes": 31, "passes": 4, "steps": 3, "warmup": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    device = torch.device(a.device)
    torch.manual_seed(0)
    if a.compile:
        torch._dynamo.config.recompile_limit = 64  # one graph for each (width, pixels, bits, domain)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    step, seconds = Step(a, device), []
    for i in range(a.warmup + a.steps):
        start = time.perf_counter()
        step.run()
        wait()
        if i >= a.warmup:
            seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() >> 20 if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"arch": a.arch, "res": a.res, "batch": a.batch, "precision": a.precision, "compile": a.compile,
                      "passes": len(step.passes), "step_s": sorted(seconds)[len(seconds) // 2], "steps": seconds,
                      "peak_mib": peak, "threads": torch.get_num_threads(), "torch": torch.__version__}))


if __name__ == "__main__":
    main()

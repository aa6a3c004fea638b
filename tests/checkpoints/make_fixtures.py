#!/usr/bin/env python3
"""Writes the checkpoints of this folder anew, with PyTorch; tools/parity --setup makes the environment.

  .deps/parity/bin/python tests/checkpoints/make_fixtures.py

The networks are torchvision's with 1/32 of the channels (resnet18_w2, resnet50_w2), so that files stay small.
"""
import argparse
import collections
import os
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "tools"))
from torch_networks import resnet, sliced  # noqa: E402

CLASSES = 5


def logits(model, images):
    with torch.no_grad():
        return model.double()(images.double()).float().numpy()


def network(arch, state):
    model = resnet(arch, 0, CLASSES, narrow=32)
    model.load_state_dict({name: value.float() if value.is_floating_point() else value
                           for name, value in state.items()})
    return model


def cast(state, dtype):
    return collections.OrderedDict((name, value.to(dtype) if value.is_floating_point() else value)
                                   for name, value in state.items())


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


def views(state):
    """The same numbers in storages that are shared, padded, and of other orders."""
    out = collections.OrderedDict()
    vectors = [name for name, value in state.items() if value.ndim == 1]
    shared = torch.cat([torch.full((7,), 99.0)] + [state[name].float() for name in vectors])
    at = 7
    for name, value in state.items():
        if name in vectors:
            out[name] = shared[at:at + len(value)]
            at += len(value)
        elif value.ndim == 4:
            out[name] = value.to(memory_format=torch.channels_last)
        elif value.ndim == 2:
            out[name] = torch.nn.Parameter(value.t().contiguous().t(), requires_grad=False)
        else:
            out[name] = value
    assert not out["layer1.0.conv1.weight"].is_contiguous() and not out["fc.weight"].is_contiguous()
    return out


def main():
    os.chdir(HERE)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    numpy.save("images.npy", images.numpy())
    model = resnet("resnet18", 2, CLASSES, narrow=32)
    state = model.state_dict()

    torch.save(state, "zip.pth")
    torch.save(state, "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(views(state), "views.pth")
    torch.save(views(state), "views_legacy.pth", _use_new_zipfile_serialization=False)
    save_file(cast(state, torch.bfloat16), "bf16.safetensors")
    half = cast(state, torch.float16)
    ema = resnet("resnet18", 3, CLASSES, narrow=32).state_dict()
    wrapped = {"epoch": 3, "args": argparse.Namespace(model="resnet18", lr=0.1, milestones=[30, 60]),
               "best": 76.5, "name": None,
               "model": collections.OrderedDict(("module." + name, value) for name, value in half.items()),
               "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}}
    torch.save(wrapped, "wrapped_f16.pth")
    averaged = {"model": wrapped["model"],
                "model_ema": collections.OrderedDict([("n_averaged", torch.tensor(7))] + [
                    ("module." + name, value) for name, value in cast(ema, torch.float64).items()])}
    torch.save(averaged, "ema_f64.pth")
    for name, value in (("zip", state), ("bf16", cast(state, torch.bfloat16)), ("f16", half), ("ema", ema)):
        numpy.save(f"logits_{name}.npy", logits(network("resnet18", value), images))

    deep = resnet("resnet50", 4, CLASSES, narrow=32)
    save_file(deep.state_dict(), "bottleneck.safetensors")
    for arch, base in (("resnet18", model), ("resnet50", deep)):
        for width, depth in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.5, 0.5)):
            numpy.save(f"logits_{arch}_w{width:g}_d{depth:g}.npy", logits(sliced(base, width, depth, 1), images))

    labels = torch.tensor([0, 3, 4])
    numpy.save("labels.npy", labels.numpy())
    trained = network("resnet18", state).double().train()
    torch.nn.functional.cross_entropy(trained(images.double()), labels).backward()
    save_file({name: p.grad.float().contiguous() for name, p in trained.named_parameters()}, "gradients.safetensors")

    torch.save({"state_dict": {"conv1.weight": state["conv1.weight"]}, "x": Malicious()}, "malicious.pth")
    torch.save({"x": Malicious()}, "malicious_legacy.pth", _use_new_zipfile_serialization=False)
    total = sum(path.stat().st_size for path in HERE.iterdir())
    print(f"{total / 1024:.0f} KiB in {HERE}")


if __name__ == "__main__":
    main()

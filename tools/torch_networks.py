"""torchvision's ResNets as the peers of a bank's subnets: narrowed, shortened, with random weights and statistics."""
import math

import torch
import torchvision


def scaled_channels(channels, width, multiple):
    """As models/bank.h: to the nearest multiple, ties up; width 1 keeps the channels."""
    if width >= 1:
        return channels
    rounded = math.floor(channels * width / multiple + 0.5) * multiple
    return min(max(rounded, min(multiple, channels)), channels)


def sliced(model, width=1.0, depth=1.0, multiple=16):
    """A torchvision ResNet whose tensors are the leading channels and blocks of `model`'s, which is left as it is."""
    out = torchvision.models.ResNet(type(model.layer1[0]), [len(getattr(model, f"layer{i}")) for i in range(1, 5)])

    def conv(old, image=False):
        new = torch.nn.Conv2d(old.in_channels if image else scaled_channels(old.in_channels, width, multiple),
                              scaled_channels(old.out_channels, width, multiple), old.kernel_size, old.stride,
                              old.padding, bias=False)
        new.weight.data = old.weight.data[:new.out_channels, :new.in_channels].clone()
        return new

    def norm(old):
        new = torch.nn.BatchNorm2d(scaled_channels(old.num_features, width, multiple))
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(new, name).data = getattr(old, name).data[:new.num_features].clone()
        return new

    out.conv1, out.bn1 = conv(model.conv1, image=True), norm(model.bn1)
    for i in range(1, 5):
        old_blocks, blocks = getattr(model, f"layer{i}"), getattr(out, f"layer{i}")
        kept = max(1, math.ceil(len(old_blocks) * depth - 1e-9))
        for old, new in zip(old_blocks, blocks):
            for name, child in old.named_children():
                if name.startswith("conv"):
                    setattr(new, name, conv(child))
                elif name.startswith("bn"):
                    setattr(new, name, norm(child))
                elif name == "downsample":
                    new.downsample = torch.nn.Sequential(conv(child[0]), norm(child[1]))
        setattr(out, f"layer{i}", blocks[:kept])
    features = scaled_channels(model.fc.in_features, width, multiple)
    out.fc = torch.nn.Linear(features, model.fc.out_features)
    out.fc.weight.data = model.fc.weight.data[:, :features].clone()
    out.fc.bias.data = model.fc.bias.data.clone()
    return out.train(model.training)


def randomized(model, seed, damped=False):
    """Every parameter and statistic from `seed`; norms far from one and zero, activations that stay in range.

    `damped`: the last norm of each block scales by 0.1 to 0.3, as in trained networks. Without it a deep network is so
    badly conditioned that PyTorch's own gradients in f32 and f64 differ by percents.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.data = torch.rand(tensor.shape, generator=generator) * (high - low) + low

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * math.sqrt(2 / fan_out)
        elif isinstance(module, torch.nn.BatchNorm2d):
            uniform(module.weight, 0.5, 1.5)
            uniform(module.bias, -0.3, 0.3)
            uniform(module.running_mean, -0.3, 0.3)
            uniform(module.running_var, 0.5, 2.0)
        elif isinstance(module, torch.nn.Linear):
            uniform(module.weight, -1 / math.sqrt(module.in_features), 1 / math.sqrt(module.in_features))
            uniform(module.bias, -0.1, 0.1)
    if damped:
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            for block in stage:
                last = block.bn3 if hasattr(block, "bn3") else block.bn2
                last.weight.data *= 0.2
    return model


def resnet(arch, seed, classes=1000, narrow=1, damped=False):
    """torchvision's network, with 1/narrow of its channels, random."""
    full = torchvision.models.get_model(arch, num_classes=classes)
    return randomized(sliced(full, 1 / narrow, 1.0, 64 // narrow) if narrow > 1 else full, seed, damped).eval()

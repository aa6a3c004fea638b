"""Labelled images of a folder as PyTorch takes them, some of them held out."""
import pathlib
import sys

import torch
from PIL import Image
from torchvision.transforms import v2

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HELD_OUT = 10  # every so many-th image of a class


def read_images(folder, size):
    """uint8 images [n, 3, side, side], squashed a little larger than they are used; labels; which are held out."""
    classes = sorted(entry.name for entry in pathlib.Path(folder).iterdir() if entry.is_dir())
    if len(classes) < 2:
        sys.exit(f"{folder} must hold one subfolder a class, found {len(classes)}")
    side = size * 8 // 7
    images, labels, held = [], [], []
    for label, name in enumerate(classes):
        for i, path in enumerate(sorted((pathlib.Path(folder) / name).iterdir())):
            image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            images.append(v2.functional.pil_to_tensor(image))
            labels.append(label)
            held.append(i % HELD_OUT == 0)
    return classes, torch.stack(images), torch.tensor(labels), torch.tensor(held)


def normalized(images):
    mean, deviation = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(DEVIATION).view(1, 3, 1, 1)
    return (images.float() / 255 - mean) / deviation


def accuracy(model, images, labels, size):
    model.eval()
    right = 0
    with torch.no_grad():
        for i in range(0, len(images), 64):
            batch = v2.functional.center_crop(images[i:i + 64], [size, size])
            right += (model(normalized(batch)).argmax(1) == labels[i:i + 64]).sum().item()
    return 100 * right / len(images)

"""Images, and what Pillow and torchvision make of them: cases for tests/data/peers.cpp.

usage: image_cases.py FOLDER [--all]

Writes images and FOLDER/cases.txt, a line each: operation, arguments, tolerance in grey levels, input, expected. Without
--all a small set, the one in tests/data/images; with it many sizes, and every one of the 2^24 colours."""
import argparse
import os

import numpy as np
import PIL
from PIL import Image, ImageOps
import torchvision
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

arguments = argparse.ArgumentParser()
arguments.add_argument("folder")
arguments.add_argument("--all", action="store_true")
options = arguments.parse_args()
folder, every = options.folder, options.all
os.makedirs(folder, exist_ok=True)
random = np.random.default_rng(7)
cases = []


def save(image, name, **how):
    image.save(os.path.join(folder, name), **how)
    return name


def case(operation, inputs, expected, tolerance=0, name=None, form="png"):
    name = name or f"{len(cases):03d}.{form}"
    cases.append(f"{operation} | {tolerance} | {inputs} | {save(expected, name)}")


def scene(height, width, smooth=False):
    """Edges, ramps and noise, in colours."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 120 * np.sin(x / 3.0 + y / 11.0), 255.0 * x / max(width - 1, 1), 255.0 * ((x // 5 + y // 4) % 2)]
    image = np.stack(planes, -1)
    if not smooth:
        image += random.normal(0, 25, image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


# Resizing and cropping. Pillow 13 sometimes resizes along columns first, earlier versions never did: one grey level.
# Along rows first, one call for each, leaves no freedom and no tolerance.
order = 1
sizes = [(37, 53), (96, 64)] + ([(375, 500), (500, 333), (227, 227), (64, 640), (1200, 900)] if every else [])
for height, width in sizes:
    image = scene(height, width)
    name = save(image, f"scene{height}x{width}.png")
    for to in [(24, 24), (61, 40)] + ([(256, 256), (224, 300), (5, 7)] if every else []):
        for filter in ("bilinear", "bicubic"):
            mode = InterpolationMode(filter)
            if filter == "bilinear":  # of bicubic, overshoots are cut off between the passes: the order shows
                case(f"resize {to[0]} {to[1]} {filter}", name, F.resize(image, list(to), mode, antialias=True), order)
            narrow = F.resize(image, [height, to[1]], mode, antialias=True)
            case(f"resize {to[0]} {to[1]} {filter}", name, F.resize(narrow, list(to), mode, antialias=True))
    for shorter, crop in [(33, 24), (24, 24)] + ([(256, 224), (232, 224), (257, 224)] if every else []):
        resized = F.resize(image, shorter, InterpolationMode.BILINEAR, antialias=True)
        case(f"shorter {shorter} {crop} bilinear", name, F.center_crop(resized, [crop, crop]), order)
        case(f"squash {shorter} {crop} bilinear", name,
             F.center_crop(F.resize(image, [shorter, shorter], InterpolationMode.BILINEAR), [crop, crop]), order)
    top, left = height // 7, width // 5
    case(f"cut {top} {left} 20", name, F.crop(image, top, left, 20, 20))
    case(f"flip {top} {left} 20", name, F.hflip(F.crop(image, top, left, 20, 20)))
    top, left, high, wide = height // 9, width // 8, height // 2, width // 3
    case(f"part {top} {left} {high} {wide} 24", name, F.resized_crop(image, top, left, high, wide, [24, 24]), order)

# Colours
image = scene(40, 48)
name = save(image, "colours.png")
for factor in [0.0, 0.35, 1.0, 1.7] + ([0.8, 0.999, 1.2, 3.0] if every else []):
    case(f"brightness {factor}", name, F.adjust_brightness(image, factor))
    case(f"contrast {factor}", name, F.adjust_contrast(image, factor))
    case(f"saturation {factor}", name, F.adjust_saturation(image, factor))
for turn in [-0.5, -0.1, 0.0, 0.03, 0.5] + ([-0.31, 0.25, 0.499] if every else []):
    case(f"hue {turn}", name, F.adjust_hue(image, turn))
case("grey", name, image.convert("L"))
grey = save(image.convert("L"), "grey.png")
case("contrast 0.4", grey, F.adjust_contrast(image.convert("L"), 0.4))
if every:
    colours = np.arange(1 << 24, dtype=np.uint32).reshape(4096, 4096)
    image = Image.fromarray(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1).astype(np.uint8))
    name = save(image, "every.ppm")
    for turn in (0.0, 0.1):
        case(f"hue {turn}", name, F.adjust_hue(image, turn), form="ppm")
    case("saturation 0.3", name, F.adjust_saturation(image, 0.3), form="ppm")
    case("grey", name, image.convert("L"), form="pgm")

# Files of all kinds. Tolerances of JPEG are those of stb_image; libjpeg-turbo has none.
image = scene(30, 46, smooth=True)
rgb = np.asarray(image)
case("decode", save(image.quantize(32), "palette.png"), image.quantize(32).convert("RGB"))
alpha = np.tile(np.linspace(0, 255, 46).astype(np.uint8), (30, 1))
on_black = Image.fromarray(((rgb.astype(np.int32) * alpha[..., None] + 127) // 255).astype(np.uint8))
case("decode", save(Image.fromarray(np.dstack([rgb, alpha])), "rgba.png"), on_black)
case("decode", save(image.convert("1"), "bits1.png"), image.convert("1").convert("RGB"))
deep = (np.asarray(image.convert("L")).astype(np.uint16) << 8) + random.integers(0, 256, (30, 46)).astype(np.uint16)
case("decode", save(Image.fromarray(deep), "bits16.png"), Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB"))


def reread(name):
    return Image.open(os.path.join(folder, name)).convert("RGB")


for name, how, tolerance in [("whole.jpg", dict(quality=92, subsampling=0), 4),
                             ("halved.jpg", dict(quality=85, subsampling=2), 40),
                             ("progressive.jpg", dict(quality=85, progressive=True, subsampling=0), 4)]:
    case("decode", save(image, name, **how), reread(name), f"jpeg {tolerance}")
case("decode", save(image.convert("L"), "grey.jpg", quality=90), reread("grey.jpg"), "jpeg 2")
case("decode", save(image.convert("CMYK"), "cmyk.jpg", quality=95), reread("cmyk.jpg"), 4)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    name = save(image, f"exif{orientation}.jpg", quality=90, subsampling=0, exif=exif)
    turned = ImageOps.exif_transpose(Image.open(os.path.join(folder, name))).convert("RGB")
    case("exif", name, turned, "jpeg 4")
exif = Image.Exif()
exif[0x0112] = 6
case("exif", save(image, "exif.png", exif=exif), image.transpose(Image.Transpose.ROTATE_270))
case("decode", "exif6.jpg", reread("exif6.jpg"), "jpeg 4")

with open(os.path.join(folder, "cases.txt"), "w") as out:
    out.write(f"# Pillow {PIL.__version__}, torchvision {torchvision.__version__}; by tools/image_cases.py\n")
    out.write("\n".join(cases) + "\n")
print(f"{len(cases)} cases in {folder}")

#!/usr/bin/python3
"""Draw a labelled set of JPEG pictures: four kinds of scene, for tests where no photographs are at hand.

Colours, light, places and sizes are drawn at random and say nothing about the kind of scene: a model must learn its shapes.
Writes OUT/*.jpg and OUT/labels.csv with the columns file, label, split (train or validation).
"""
import argparse
import csv
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw


def colour(rng):
    return tuple(int(v) for v in rng.integers(20, 236, 3))


def background(rng, width, height):
    """A gradient between two colours, in any direction."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:height, 0:width]
    along = (x / width - 0.5) * math.cos(angle) + (y / height - 0.5) * math.sin(angle) + 0.5
    first, second = np.array(colour(rng)), np.array(colour(rng))
    mixed = first + (second - first) * np.clip(along, 0, 1)[..., None]
    return Image.fromarray(mixed.astype(np.uint8))


def bubbles(rng, draw, width, height):
    for _ in range(rng.integers(4, 9)):
        radius = rng.uniform(0.08, 0.2) * height
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour(rng))


def hills(rng, draw, width, height):
    for _ in range(rng.integers(3, 6)):
        peak = (rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.6) * height)
        spread = rng.uniform(0.25, 0.5) * width
        draw.polygon((peak, (peak[0] - spread, height), (peak[0] + spread, height)), fill=colour(rng))


def towers(rng, draw, width, height):
    left = 0.0
    while left < width:
        right = left + rng.uniform(0.08, 0.2) * width
        top = rng.uniform(0.15, 0.7) * height
        draw.rectangle((left, top, right, height), fill=colour(rng))
        left = right + rng.uniform(0.02, 0.1) * width


def waves(rng, draw, width, height):
    bands = rng.integers(4, 8)
    length = rng.uniform(0.4, 1.0) * width
    lift = rng.uniform(0.03, 0.07) * height
    for band in range(bands):
        base = height * (band + rng.uniform(0.3, 0.7)) / bands
        phase = rng.uniform(0, 2 * math.pi)
        crest = [(x, base + lift * math.sin(2 * math.pi * x / length + phase)) for x in range(0, width + 4, 4)]
        draw.line(crest, fill=colour(rng), width=max(3, int(height / bands / 2)), joint="curve")


SCENES = {"bubbles": bubbles, "hills": hills, "towers": towers, "waves": waves}


def picture(rng, scene):
    width, height = (int(v) for v in rng.integers(200, 401, 2))
    image = background(rng, width, height)
    scene(rng, ImageDraw.Draw(image), width, height)
    pixels = np.asarray(image, dtype=np.float32) * rng.uniform(0.6, 1.2)
    pixels += rng.normal(0, rng.uniform(2, 12), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=pathlib.Path)
    parser.add_argument("--train", type=int, default=100, help="pictures a class to train on")
    parser.add_argument("--validation", type=int, default=25, help="pictures a class to validate on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "labels.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("file", "label", "split"))
        for label, scene in SCENES.items():
            for number in range(options.train + options.validation):
                name = f"{label}{number}.jpg"
                quality = int(rng.integers(75, 91))
                picture(rng, scene).save(options.out / name, quality=quality, subsampling="4:2:0")
                rows.writerow((name, label, "train" if number < options.train else "validation"))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Draws docs/compression.md's pictures, table and curve: one photograph in several formats.

    scripts/draw_compression.py [path of imagecalc-encode]

The photograph is the raccoon of SciPy (scipy.misc.face, public domain), reduced to 768x576: at its full size a JPEG's
quantization shows through, and JPEG would find its own steps again. Needs python3-scipy, python3-pil and imagecalc-encode
(default: build/src/edge/imagecalc-encode). Takes some minutes.
"""
import io
import math
import os
import pathlib
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy
from PIL import Image

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
SIZE = (768, 576)
CROP = (352, 80, 704, 344)  # the face, at 1:1
TIMES_SMALLER = (20, 40, 70, 120, 200, 350, 600, 1000)  # than raw RGB: what the table shows

QUALITIES = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 65, 75, 85, 90, 95)
KEPT_PARTS = (1 / 32, 1 / 16, 3 / 32, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)  # of the block


def photograph():
    with warnings.catch_warnings():  # newer releases move it
        warnings.simplefilter("ignore", DeprecationWarning)
        from scipy.misc import face
        return numpy.asarray(Image.fromarray(face()).resize(SIZE, Image.LANCZOS))


def psnr(pixels, other):
    return 10 * math.log10(255**2 / numpy.mean((pixels.astype(float) - other) ** 2))


def as_file(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def pixels_of(file):
    return numpy.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


class Encoder:
    """Stores one photograph, and shows what is left of it."""

    def __init__(self, program, pixels):
        self.program = program
        self.pixels = pixels
        self.file = as_file(pixels, "PNG")

    def run(self, *words):
        return subprocess.run([self.program, *words], input=self.file, stdout=subprocess.PIPE, check=True).stdout

    def show(self, storage_format):
        return pixels_of(self.run("--preview", storage_format))

    def measure(self, storage_format):
        """(bytes, PSNR, format)"""
        return len(self.run(storage_format)), psnr(self.pixels, self.show(storage_format)), storage_format


def tried_formats():
    for subsampling in ("1x1", "4x4"):
        for block in (8, 16, 32, 64, 128, 256):
            for kept in sorted({round(block * part) for part in KEPT_PARTS if block * part >= 1}):
                for quantizer in (20, 50, 100):
                    yield f"{subsampling}/b{block}/k{kept}/q{quantizer}"


def jpeg_points(pixels):
    """(bytes, PSNR, quality) at every quality and chroma sampling, with tables made for the picture."""
    for quality in QUALITIES:
        for sampling in (0, 2):  # 4:4:4, 4:2:0
            file = as_file(pixels, "JPEG", quality=quality, subsampling=sampling, optimize=True)
            yield len(file), psnr(pixels, pixels_of(file)), quality


def frontier(points):
    """Those than which no smaller one is better."""
    best = []
    for point in sorted(points):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best


def best_within(points, size):
    return max((point for point in points if point[0] <= size), key=lambda point: point[1])


# ---- the curve

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 460, 60, 60, 20, 20
BYTES = (500, 200000)
DECIBELS = (16, 40)


def x_of(size):
    low, high = map(math.log, BYTES)
    return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(size) - low) / (high - low)


def y_of(decibels):
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (decibels - DECIBELS[0]) / (DECIBELS[1] - DECIBELS[0])


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{words}</text>'


def axes(raw):
    for size in (500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000):
        x = x_of(size)
        yield f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
        yield text(x, HEIGHT - BOTTOM + 16, f"{size / 1000:g} kB")
        yield text(x, HEIGHT - BOTTOM + 32, f"{raw / size:.0f}x" if raw / size >= 10 else f"{raw / size:.1f}x",
                   more='fill="#777"')
    for decibels in range(DECIBELS[0], DECIBELS[1] + 1, 2):
        y = y_of(decibels)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield text(LEFT - 8, y + 4, decibels, "end")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "bytes (logarithmic), and raw RGB divided by them")
    yield text(16, HEIGHT / 2, "PSNR, dB", more=f'transform="rotate(-90 16 {HEIGHT / 2})"')


def in_view(points):
    return [(size, quality) for size, quality, _ in points
            if BYTES[0] <= size <= BYTES[1] and DECIBELS[0] <= quality <= DECIBELS[1]]


def curve(points, color):
    places = " ".join(f"{x_of(size):.1f},{y_of(quality):.1f}" for size, quality in in_view(points))
    return f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="2"/>'


def dots(points, color):
    return "".join(f'<circle cx="{x_of(size):.1f}" cy="{y_of(quality):.1f}" r="1.6" fill="{color}" fill-opacity="0.45"/>'
                   for size, quality in in_view(points))


def draw_curve(own, jpeg, raw):
    blue, red = "#1f5fbf", "#c0392b"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *axes(raw), dots(own, blue), curve(frontier(own), blue),
        dots(jpeg, red), curve(frontier(jpeg), red),
        text(LEFT + 14, TOP + 20, f"icimage: {len(own)} formats, and the best of them", "start", f'fill="{blue}"'),
        text(LEFT + 14, TOP + 38, f"JPEG: {len(jpeg)} settings, and the best of them", "start", f'fill="{red}"'),
        "</svg>", ""])


# ---- the page

def crop(pixels):
    left, top, right, bottom = CROP
    return pixels[top:bottom, left:right]


def save_picture(name, pixels):
    (DOCS / "compression" / name).write_bytes(as_file(pixels, "JPEG", quality=88, subsampling=0, optimize=True))


def name_of(storage_format):
    return storage_format.replace("/", "-") + ".jpg"


def table(shown, raw, jpeg_size):
    yield "| format | bytes | raw RGB / bytes | JPEG q75 / bytes | PSNR, dB | |"
    yield "|---|---|---|---|---|---|"
    for size, quality, storage_format in shown:
        yield (f"| `{storage_format}` | {size} | {raw / size:.0f} | {jpeg_size / size:.1f} | {quality:.1f} "
               f"| ![{storage_format}](compression/{name_of(storage_format)}) |")


def replace_table(page, lines):
    """The page with what stands between its markers drawn anew."""
    begin, end = "<!-- drawn: begin -->\n", "<!-- drawn: end -->"
    before, rest = page.split(begin)
    return before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1]


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else DOCS.parent / "build/src/edge/imagecalc-encode"
    pixels = photograph()
    encoder = Encoder(program, pixels)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        own = list(pool.map(encoder.measure, tried_formats()))
    shown = [best_within(own, pixels.nbytes / times) for times in TIMES_SMALLER]
    jpeg = list(jpeg_points(pixels))
    jpeg_file = as_file(pixels, "JPEG", quality=75)

    for old in (DOCS / "compression").glob("*.jpg"):
        old.unlink()
    save_picture("original.jpg", crop(pixels))
    for _, _, storage_format in shown:
        save_picture(name_of(storage_format), crop(encoder.show(storage_format)))
    (DOCS / "compression" / "curve.svg").write_text(draw_curve(own, jpeg, pixels.nbytes))
    page = DOCS / "compression.md"
    lines = [*table(shown, pixels.nbytes, len(jpeg_file)), "",
             f"Raw RGB has {pixels.nbytes} bytes; the JPEG of quality 75 (4:2:0) {len(jpeg_file)} bytes at "
             f"{psnr(pixels, pixels_of(jpeg_file)):.1f} dB."]
    page.write_text(replace_table(page.read_text(), lines))


if __name__ == "__main__":
    main()

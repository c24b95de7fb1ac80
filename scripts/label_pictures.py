#!/usr/bin/python3
"""Copy pictures into one folder with a labels.csv (file, label, split).

SOURCE has a labels.csv of that kind itself, or one folder of JPEG files for each class; of these every fifth, by name, is for
validation.
"""
import argparse
import csv
import pathlib
import shutil
import sys

SUFFIXES = {".jpg", ".jpeg"}


def listed(source):
    with open(source / "labels.csv", newline="") as file:
        for row in csv.DictReader(file):
            yield source / row["file"], row["label"], row["split"]


def in_folders(source):
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for number, path in enumerate(files):
            yield path, folder.name, "validation" if number % 5 == 4 else "train"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", type=pathlib.Path)
    parser.add_argument("out", metavar="OUT", type=pathlib.Path)
    options = parser.parse_args()

    pictures = list(listed(options.source) if (options.source / "labels.csv").exists() else in_folders(options.source))
    if len({label for _, label, _ in pictures}) < 2:
        sys.exit(f"{options.source} has neither a labels.csv nor folders of JPEG files for two classes or more")
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "labels.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("file", "label", "split"))
        for number, (path, label, split) in enumerate(pictures):
            name = f"{number:06}{path.suffix.lower()}"
            shutil.copyfile(path, options.out / name)
            rows.writerow((name, label, split))


if __name__ == "__main__":
    main()

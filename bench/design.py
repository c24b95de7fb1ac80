"""Compares a design's predictions with trainings of formats that it did not train; bench/design.sh prepares and calls it.

Expects a server (PGHOST and the like) with the table images (id, jpeg, label, split).
"""
import argparse
import csv
import datetime
import io
import json
import math
import os
import pathlib
import random
import re
import statistics
import sys
import time

from driver import Helper, Session, psql, say

SIZE = 128
LEAST_EDGE, LARGEST_EDGE = 8, 64
LEARNING_RATE = 0.05
FIRST_SEED = 1000  # none that a design uses
DEFAULT_EPOCHS, DEFAULT_TRANSFER_EPOCHS = 210, 20  # ic_design's
TIMED_IMAGES = 500
WARM_UP_RUNS, TIMED_RUNS = 2, 5


def table(query):
    return list(csv.DictReader(io.StringIO(psql(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)"))))


# ---- formats

# A format without the size of the picture.
def short(form):
    return form.split("@")[0]


def tensor_edges(form):
    subsampling, block, kept = re.match(r"(.*)/b(\d+)/k(\d+)/", form).groups()
    height = math.ceil(SIZE / (2 if subsampling in ("2x2r", "4x4") else 1) / int(block)) * int(kept)
    width = math.ceil(SIZE / (2 if subsampling in ("2x2c", "4x4") else 1) / int(block)) * int(kept)
    return height, width


def is_studied(form):
    return all(LEAST_EDGE <= edge <= LARGEST_EDGE for edge in tensor_edges(form))


def is_larger(form):
    return max(tensor_edges(form)) > LARGEST_EDGE


# ---- the design

# more: further arguments of ic_design.
def start_design(options, more):
    return psql("SET client_min_messages = warning;"
                f"SELECT ic_design('images', '{options.model}', split_column => 'split', label_column => 'label', size => {SIZE},"
                f" epochs => {options.epochs}, transfer_epochs => {max(1, options.epochs // 2)},"
                f" learning_rate => {LEARNING_RATE}, {more})").strip()


# Stops a design as soon as the costs of all formats are known, sets its budget, and lets it go on with these costs. The budget is a
# latency that excludes larger tensors than those that are studied, as well as one can: the fewest on the wrong side of it.
def set_budget(design):
    while not psql(f"SELECT 1 FROM imagecalc.candidate WHERE design = {design} LIMIT 1"):
        state, error = psql(f"SELECT state, error FROM ic_progress WHERE design = {design}").strip().split("|", 1)
        if state == "failed":
            sys.exit(error)
        time.sleep(0.2)
    psql(f"SELECT ic_cancel({design})")
    while psql(f"SELECT imagecalc.worker_of({design})").strip():
        time.sleep(0.2)
    costs = table(f"SELECT format, latency_us FROM ic_candidates({design})")
    wrong = sum(is_studied(short(row["format"])) for row in costs)
    budget, fewest = 0, wrong
    for row in sorted(costs, key=lambda row: float(row["latency_us"])):
        wrong += is_larger(short(row["format"])) - is_studied(short(row["format"]))
        if wrong < fewest:
            budget, fewest = float(row["latency_us"]), wrong
    psql(f"UPDATE imagecalc.design SET latency_us = {budget} WHERE id = {design}; SELECT ic_resume({design})")
    return budget


# Waits for a design, and returns what it found.
def follow_design(design):
    begin = time.monotonic()
    told = None
    while True:
        state, phase, error = psql(f"SELECT state, phase, error FROM ic_progress WHERE design = {design}").strip().split("|", 2)
        if state not in ("queued", "running"):
            break
        trial = phase.split(",")[0]
        if trial != told:
            say(phase)
            told = trial
        time.sleep(0.5)
    if state != "done":
        sys.exit(f"the design is {state}: {error}")
    return {"seconds": time.monotonic() - begin,
            "choice": psql(f"SELECT format FROM ic_designs WHERE id = {design}").strip(),
            "trials": table(f"SELECT * FROM ic_trials({design})"),
            "candidates": table(f"SELECT * FROM ic_candidates({design}) WHERE accuracy IS NOT NULL")}


# In one go: a run that is broken off leaves a whole file.
def keep(file, value):
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps(value))
    unfinished.rename(file)


# What make() returns, kept in a file of the state.
def remembered(file, make):
    if not file.exists():
        keep(file, make())
    return json.loads(file.read_text())


# What a state holds is of no use to a run that was asked for something else.
def check_state(options):
    asked = {name: getattr(options, name) for name in ("data", "epochs", "space")}
    found = remembered(options.state / "options.json", lambda: asked)
    if found != asked:
        sys.exit(f"{options.state} is of a run with {found}, not {asked}: remove it, or give another --state")


def wide_design(options):
    say("measuring what formats cost")
    design = start_design(options, "latency => '3 s'")
    say(f"designing within {set_budget(design):.0f} us")
    return follow_design(design)


# A design among the smallest formats that trains less than half of them.
def narrow_design(options, found):
    limit = math.ceil(sorted(float(row["bytes"]) for row in found["candidates"])[options.space - 1])
    say(f"designing within {limit} bytes")
    return follow_design(start_design(options, f"storage => {limit}, buckets => 8, sampled_buckets => 4, trials_per_bucket => 2"))


# ---- the truth

# Spread over the bytes, and whatever the design trained the same ones, but for those that it trained: then the next larger one.
def pick_formats(found, count):
    studied = [row for row in found["candidates"] if is_studied(short(row["format"]))]
    studied.sort(key=lambda row: (float(row["bytes"]), row["format"]))
    draw = random.Random(1)
    step = len(studied) / count
    picked = []
    for i in range(count):
        place = int((i + draw.random()) * step)
        picked.append(next(row for row in studied[place:] + studied[:place] if row["measured"] == "f" and row not in picked))
    return picked


def train(trainer, form, seed):
    answer = trainer.ask(form, seed)
    return {"format": form, "seed": seed, "bytes": float(answer[2]), "accuracy": float(answer[3])}


# Each format with so many seeds; what has been trained before is not trained again.
def train_all(options, formats, seeds):
    kept = options.state / "trained.jsonl"
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["format"], row["seed"]) for row in known}
    jobs = [(form, FIRST_SEED + seed) for seed in range(seeds) for form in formats]
    trainer = None
    for number, job in enumerate(jobs, 1):
        if job in done:
            continue
        trainer = trainer or Helper(options.trainer, options.pictures, options.model, SIZE, options.epochs, LEARNING_RATE,
                                    os.cpu_count())
        known.append(train(trainer, *job))
        with kept.open("a") as file:
            file.write(json.dumps(known[-1]) + "\n")
        say(f"training {number} of {len(jobs)}, {job[0]}: {known[-1]['accuracy']:.1%}")
    truth = {}
    for row in known:
        if (row["format"], row["seed"]) in jobs:
            truth.setdefault(row["format"], []).append(row)
    return truth


# ---- what a query takes

# Microseconds an image of a query that classifies one image after the other, as users see it.
def time_format(session, options, form):
    session.ask("SET client_min_messages = warning", "DROP TABLE IF EXISTS timed",
                "SELECT count(ic_drop_model(name)) FROM ic_models WHERE name = 'timed'",
                f"CREATE TABLE timed AS SELECT jpeg::icimage('{form}') AS image FROM images ORDER BY id LIMIT {TIMED_IMAGES}")
    session.ask("VACUUM (FREEZE, ANALYZE) timed", "SELECT 1")
    labels = "(SELECT array_agg(DISTINCT label ORDER BY label) FROM images)"
    session.ask(f"SELECT ic_import_model('timed', '{options.model}', labels => {labels},"
                f" input => '{form}') IS NULL")
    runs = []
    for run in range(-WARM_UP_RUNS, TIMED_RUNS):
        begin = time.monotonic()
        count = int(session.ask("SELECT count(ic_infer('timed', image)) FROM timed"))
        if run >= 0:
            runs.append((time.monotonic() - begin) / count * 1e6)
    return statistics.median(runs)


def time_all(options, formats):
    kept = options.state / "timed.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    session = Session()
    session.ask("SET imagecalc.enable_batch_infer = off", "SELECT 1")
    for number, row in enumerate(formats, 1):
        form = row["format"]
        if form in known:
            continue
        known[form] = time_format(session, options, form)
        keep(kept, known)
        say(f"timing {number} of {len(formats)}, {form}: {known[form]:.0f} us, predicted {float(row['latency_us']):.0f}")
    session.close()
    return known


# ---- the report

def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    places = [0] * len(values)
    for place, index in enumerate(order):
        places[index] = place
    return places


# The design's trials that ran to their ends, without those that it trained again.
def explored(found):
    return [row for row in found["trials"] if row["kind"] in ("scratch", "transfer") and row["stopped"] == "f"]


def accuracies(rows):
    return [row["accuracy"] for row in rows]


# truth: the trainings of each format. timed: microseconds an image.
def report_predictions(options, found, formats, truth, timed):
    lines = [f"### {options.data}", "",
             f"{datetime.date.today()}; {len(formats)} formats that the design did not train, {options.seeds} seeds each,"
             f" {options.epochs} epochs.",
             "", "| format | predicted | interval | trained | bytes predicted | bytes | us predicted | us |",
             "|---|---:|---|---:|---:|---:|---:|---:|"]
    predicted, means, within = [], [], 0
    for row in formats:
        form = short(row["format"])
        mean = statistics.mean(accuracies(truth[form]))
        low, high = float(row["accuracy_low"]), float(row["accuracy_high"])
        predicted.append(float(row["accuracy"]))
        means.append(mean)
        within += low <= mean <= high
        lines.append(f"| `{form}` | {predicted[-1]:.1%} | {low:.1%} to {high:.1%} | {mean:.1%} | {float(row['bytes']):.0f} |"
                     f" {truth[form][0]['bytes']:.0f} | {float(row['latency_us']):.0f} | {timed[row['format']]:.0f} |")
    trials = explored(found)
    trivial = statistics.mean(float(row["accuracy"]) for row in trials)
    error = statistics.mean(abs(p - m) for p, m in zip(predicted, means))
    trivial_error = statistics.mean(abs(trivial - m) for m in means)
    seeds = math.sqrt(statistics.mean(statistics.variance(accuracies(rows)) for rows in truth.values()))
    bytes_error = statistics.mean(abs(float(row["bytes"]) / truth[short(row["format"])][0]["bytes"] - 1) for row in formats)
    latency_error = statistics.mean(abs(float(row["latency_us"]) / timed[row["format"]] - 1) for row in formats)
    equivalents = sum(int(row["epochs"]) for row in found["trials"]) / options.epochs
    full = sum(row["kind"] != "transfer" for row in found["trials"])
    by_default = full + (len(found["trials"]) - full) * DEFAULT_TRANSFER_EPOCHS / DEFAULT_EPOCHS
    lines += ["", "| | goal | |", "|---|---|---|",
              f"| mean absolute error, points | 3 | {100 * error:.2f} |",
              f"| the same / that of the trials' mean | 0.7 | {error / trivial_error:.2f} ({100 * trivial_error:.2f} points) |",
              f"| within the 90 % interval | 80 to 97 % | {within / len(formats):.0%} |",
              f"| rank correlation | | {statistics.correlation(ranks(predicted), ranks(means)):.2f} |",
              f"| deviation between seeds, points | | {100 * seeds:.2f} |",
              f"| bytes, mean error | 3 % | {bytes_error:.1%} |",
              f"| latency of one image, mean error | 20 % | {latency_error:.1%} |",
              f"| cost by ic_design's defaults, {DEFAULT_EPOCHS} and {DEFAULT_TRANSFER_EPOCHS} epochs, trainings | 12 | {by_default:.1f} |",
              f"| cost here, trainings | | {equivalents:.1f}: {len(found['trials'])} trials in {found['seconds']:.0f} s;"
              f" brute force {len(found['candidates'])} |", ""]
    return "\n".join(lines)


# The choice of a design among few formats against the best of them, all trained.
def report_choice(options, found, truth):
    means = {form: statistics.mean(accuracies(rows)) for form, rows in truth.items()}
    best, choice = max(means, key=means.get), short(found["choice"])
    seeds = math.sqrt(statistics.mean(statistics.variance(accuracies(rows)) for rows in truth.values()))
    place = sorted(means.values(), reverse=True).index(means[choice]) + 1
    trained = len(explored(found))
    return "\n".join([
        f"A choice among {len(means)} formats of which the design trained {trained}, all trained with {options.space_seeds} seeds"
        " each:", "",
        "| | goal | |", "|---|---|---|",
        f"| the choice, `{choice}`, place {place} | | {means[choice]:.1%} |",
        f"| the best, `{best}` | | {means[best]:.1%} |",
        f"| points lost | 1.5, or a standard error | {100 * (means[best] - means[choice]):.2f} |",
        f"| standard error of such a mean, points | | {100 * seeds / math.sqrt(options.space_seeds):.2f} |", ""])


def parse_options():
    parser = argparse.ArgumentParser()
    for name in ("--trainer", "--model", "--pictures", "--data"):
        parser.add_argument(name, required=True)
    for name in ("--formats", "--seeds", "--space", "--space-seeds", "--epochs"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--out")
    options = parser.parse_args()
    if min(options.seeds, options.space_seeds) < 2:
        parser.error("a deviation between seeds takes two of them at least")
    return options


def main():
    options = parse_options()
    check_state(options)
    psql("CREATE EXTENSION imagecalc")
    found = remembered(options.state / "design.json", lambda: wide_design(options))
    formats = pick_formats(found, options.formats)
    timed = time_all(options, formats)
    narrow = remembered(options.state / "narrow.json", lambda: narrow_design(options, found))
    truth = train_all(options, [short(row["format"]) for row in formats], options.seeds)
    text = report_predictions(options, found, formats, truth, timed)
    truth = train_all(options, [short(row["format"]) for row in narrow["candidates"]], options.space_seeds)
    text += "\n" + report_choice(options, narrow, truth)
    print(text)
    if options.out:
        pathlib.Path(options.out).write_text(text)


if __name__ == "__main__":
    main()

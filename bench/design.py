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
LARGEST_EDGE = 64
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
    return max(tensor_edges(form)) <= LARGEST_EDGE


# ---- the design

# more: further arguments of ic_design.
def start_design(options, seed, more):
    return psql("SET client_min_messages = warning;"
                f"SELECT ic_design('images', '{options.model}', split_column => 'split', label_column => 'label', size => {SIZE},"
                f" epochs => {options.epochs}, transfer_epochs => {max(1, options.epochs // 2)},"
                f" learning_rate => {LEARNING_RATE}, seed => {seed}, {more})").strip()


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
        wrong += -1 if is_studied(short(row["format"])) else 1
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


def wide_design(options, seed):
    say(f"design {seed}: measuring what formats cost")
    design = start_design(options, seed, "latency => '3 s'")
    say(f"design {seed}: within {set_budget(design):.0f} us")
    return follow_design(design)


# A design among the smallest formats that trains less than half of them.
def narrow_design(options, seed, found):
    limit = math.ceil(sorted(float(row["bytes"]) for row in found["candidates"])[options.space - 1])
    say(f"design {seed} of a small space: within {limit} bytes")
    return follow_design(start_design(options, seed, f"storage => {limit}, buckets => 8, sampled_buckets => 4,"
                                                     " trials_per_bucket => 2"))


# ---- the truth

# Spread over the bytes, and whatever the designs trained the same ones, but for those that one of them trained or left out of its
# budget: then the next larger one. Each is a list of what the designs say of it.
def pick_formats(designs, count):
    found = [{short(row["format"]): row for row in design["candidates"]} for design in designs]
    studied = [form for form in found[0] if is_studied(form)]
    studied.sort(key=lambda form: (float(found[0][form]["bytes"]), form))
    open_to_all = {form for form in studied if all(form in rows and rows[form]["measured"] == "f" for rows in found)}
    draw = random.Random(1)
    step = len(studied) / count
    picked = []
    for i in range(count):
        place = int((i + draw.random()) * step)
        picked.append(next(form for form in studied[place:] + studied[:place] if form in open_to_all and form not in picked))
    return [[rows[form] for rows in found] for form in picked]


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
    for number, form in enumerate(formats, 1):
        if form in known:
            continue
        known[form] = time_format(session, options, form)
        keep(kept, known)
        say(f"timing {number} of {len(formats)}, {form}: {known[form]:.0f} us")
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


def mean_deviation(truth):
    return math.sqrt(statistics.mean(statistics.variance(accuracies(rows)) for rows in truth.values()))


# What one design's predictions are worth, by the name of the line in the report. rows: its candidates that were trained, truth: their
# means.
def judge(options, found, rows, means, sizes, timed):
    predicted = [float(row["accuracy"]) for row in rows]
    trials = explored(found)
    trivial = statistics.mean(float(row["accuracy"]) for row in trials)
    error = statistics.mean(abs(p - m) for p, m in zip(predicted, means))
    trivial_error = statistics.mean(abs(trivial - m) for m in means)
    within = sum(float(row["accuracy_low"]) <= m <= float(row["accuracy_high"]) for row, m in zip(rows, means))
    full = sum(row["kind"] != "transfer" for row in found["trials"])
    handed_down = len(found["trials"]) - full
    return {
        "error": 100 * error,
        "trivial_error": 100 * trivial_error,
        "ratio": error / trivial_error,
        "within": within / len(rows),
        "correlation": statistics.correlation(ranks(predicted), ranks(means)),
        "bytes": statistics.mean(abs(float(row["bytes"]) / size - 1) for row, size in zip(rows, sizes)),
        "latency": statistics.mean(abs(float(row["latency_us"]) / timed[row["format"]] - 1) for row in rows),
        "by_default": full + handed_down * DEFAULT_TRANSFER_EPOCHS / DEFAULT_EPOCHS,
        "equivalents": sum(int(row["epochs"]) for row in found["trials"]) / options.epochs,
        "trials": len(found["trials"]),
        "seconds": found["seconds"],
    }


JUDGEMENTS = (("error", "mean absolute error, points", "3", "{:.2f}"),
              ("trivial_error", "that of the trials' mean, points", "", "{:.2f}"),
              ("ratio", "the one / the other", "0.7", "{:.2f}"),
              ("within", "within the 90 % interval", "80 to 97 %", "{:.0%}"),
              ("correlation", "rank correlation", "", "{:.2f}"),
              ("bytes", "bytes, mean error", "3 %", "{:.1%}"),
              ("latency", "latency of one image, mean error", "20 %", "{:.1%}"),
              ("by_default", f"cost by ic_design's defaults, {DEFAULT_EPOCHS} and {DEFAULT_TRANSFER_EPOCHS} epochs, trainings", "12",
               "{:.1f}"),
              ("equivalents", "cost here, trainings", "", "{:.1f}"),
              ("trials", "trials", "", "{:.0f}"),
              ("seconds", "seconds from the first trial", "", "{:.0f}"))


# formats: what each design says of each. truth: the trainings of each format. timed: microseconds an image.
def report_predictions(options, designs, formats, truth, timed):
    lines = [f"### {options.data}", "",
             f"{datetime.date.today()}; {len(designs)} designs that differ in their seeds; {len(formats)} formats that none of them"
             f" trained, {options.seeds} seeds each, {options.epochs} epochs. Predictions are those of each design; bytes, latency and"
             " the interval are the first one's.",
             "", "| format | predicted | interval | trained | bytes predicted | bytes | us predicted | us |",
             "|---|---|---|---:|---:|---:|---:|---:|"]
    means, sizes = [], []
    for rows in formats:
        form = short(rows[0]["format"])
        means.append(statistics.mean(accuracies(truth[form])))
        sizes.append(truth[form][0]["bytes"])
        first = {name: float(rows[0][name]) for name in ("accuracy_low", "accuracy_high", "bytes", "latency_us")}
        lines.append(f"| `{form}` | {', '.join(format(100 * float(row['accuracy']), '.1f') for row in rows)} % |"
                     f" {first['accuracy_low']:.1%} to {first['accuracy_high']:.1%} | {means[-1]:.1%} | {first['bytes']:.0f} |"
                     f" {sizes[-1]:.0f} | {first['latency_us']:.0f} | {timed[rows[0]['format']]:.0f} |")
    judged = [judge(options, found, [rows[number] for rows in formats], means, sizes, timed) for number, found in enumerate(designs)]
    lines += ["", "| | goal | mean | " + " | ".join(f"design {number + 1}" for number in range(len(designs))) + " |",
              "|---|---|---:|" + "---:|" * len(designs)]
    for name, title, goal, form in JUDGEMENTS:
        values = [judgement[name] for judgement in judged]
        lines.append(f"| {title} | {goal} | " + " | ".join(form.format(value) for value in [statistics.mean(values)] + values) + " |")
    lines += ["", f"Deviation between seeds: {100 * mean_deviation(truth):.2f} points. Brute force would be"
              f" {len(designs[0]['candidates'])} trainings.", ""]
    return "\n".join(lines)


# Each design's choice among few formats against the best of them, all trained.
def report_choices(options, designs, truth):
    means = {form: statistics.mean(accuracies(rows)) for form, rows in truth.items()}
    lines = [f"Choices among the {options.space} smallest formats or so, all trained with {options.space_seeds} seeds each:", "",
             "| | goal | formats | trained | accuracy | the best | points lost |", "|---|---|---:|---:|---:|---:|---:|"]
    lost = []
    for number, found in enumerate(designs, 1):
        own = {short(row["format"]): means[short(row["format"])] for row in found["candidates"]}
        best, choice = max(own, key=own.get), short(found["choice"])
        lost.append(100 * (own[best] - own[choice]))
        lines.append(f"| design {number}: `{choice}` | | {len(own)} | {len(explored(found))} | {own[choice]:.1%} |"
                     f" `{best}` {own[best]:.1%} | {lost[-1]:.2f} |")
    error = 100 * mean_deviation(truth) / math.sqrt(options.space_seeds)
    return "\n".join(lines + [f"| their mean | 1.5, or a standard error of a format's mean: {error:.2f} | | | | |"
                              f" {statistics.mean(lost):.2f} |", ""])


def parse_options():
    parser = argparse.ArgumentParser()
    for name in ("--trainer", "--model", "--pictures", "--data"):
        parser.add_argument(name, required=True)
    for name in ("--designs", "--formats", "--seeds", "--space", "--space-seeds", "--epochs"):
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
    seeds = range(1, options.designs + 1)
    designs = [remembered(options.state / f"design-{seed}.json", lambda: wide_design(options, seed)) for seed in seeds]
    formats = pick_formats(designs, options.formats)
    timed = time_all(options, [rows[0]["format"] for rows in formats])
    narrow = [remembered(options.state / f"narrow-{seed}.json", lambda: narrow_design(options, seed, designs[0])) for seed in seeds]
    truth = train_all(options, [short(rows[0]["format"]) for rows in formats], options.seeds)
    text = report_predictions(options, designs, formats, truth, timed)
    space = sorted({short(row["format"]) for found in narrow for row in found["candidates"]})
    text += "\n" + report_choices(options, narrow, train_all(options, space, options.space_seeds))
    print(text)
    if options.out:
        pathlib.Path(options.out).write_text(text)


if __name__ == "__main__":
    main()

"""Measures inference in SQL beside a bare loop of the same engine and beside Python; bench/infer.sh prepares and calls it.

Expects a server (PGHOST and the like) with the table images (id, jpeg), and in the folder of models NET.pt and NET.onnx.
"""
import argparse
import dataclasses
import datetime
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

from driver import Helper, Session, psql, say

NETS = ("mobilenet_v3_small", "shufflenet_v2_x1_0", "efficientnet_b3", "resnet50")
FORMATS = {24: "1x1/b32/k3/q50@256", 82: "1x1/b128/k41/q50@256"}
RGB_EDGE = 256
ENGINES = ("libtorch", "openvino")
REPEATS = 3
SLICE = 1  # seconds: cells that are compared take turns this long, as the machine's speed may change from one second to the next
JPEG_BATCH = 32
PARTS = ("fetch", "transfer", "decode", "model", "wait")
WARM_BATCHES = 10  # the runner tries a plan a call: as many as it has, and some
HERE = pathlib.Path(__file__).parent


# ---- what is measured

@dataclasses.dataclass
class Cell:
    """One line of the table. The others of its kind that it is compared with are named by jpeg and bare."""
    name: str
    batch: str
    bout: tuple  # which cells take turns with it: tensor size and batch
    jpeg: tuple = None
    bare: tuple = None
    turns: list = dataclasses.field(default_factory=list)    # of this repeat, up to now: images and the seconds that they took
    repeats: list = dataclasses.field(default_factory=list)  # the turns of those that have ended
    shares: dict = None
    note: str = ""

    @property
    def key(self):
        return self.name, self.batch

    # Images a second of each repeat.
    @property
    def rates(self):
        return [sum(images for images, _ in turns) / seconds_of(turns) for turns in self.repeats]

    @property
    def rate(self):
        return statistics.median(self.rates)

    # Returns images and the seconds that they took.
    def run(self, seconds):
        raise NotImplementedError

    # How long it runs at a time, of a repeat that takes so many seconds.
    def turn(self, seconds):
        return min(SLICE, seconds)

    def take_turn(self, seconds):
        self.turns.append(self.run(self.turn(seconds)))

    # Whether this repeat has no room for most of another turn.
    def is_done(self, seconds):
        return bool(self.turns) and seconds_of(self.turns) + self.turns[-1][1] / 2 >= seconds

    def end_repeat(self):
        self.repeats.append(self.turns)
        self.turns = []

    def prepare(self, seconds):
        pass

    def explain(self):
        pass


def seconds_of(turns):
    return sum(seconds for _, seconds in turns)


class Table:
    """Rows of pictures, the same ones again and again: as many as were asked for."""

    def __init__(self, name, column_type):
        self.name = name
        psql(f"CREATE TABLE {name} (id bigint PRIMARY KEY, image {column_type});"
             f"INSERT INTO {name} SELECT row_number() OVER (ORDER BY id), jpeg FROM images;")
        self.pictures = self.rows = int(psql(f"SELECT count(*) FROM {name}"))
        self.tidy()

    def tidy(self):
        psql(f"VACUUM (FREEZE, ANALYZE) {self.name}")

    def grow(self, rows):
        if rows <= self.rows:
            return
        psql(f"INSERT INTO {self.name} SELECT i, p.image FROM generate_series({self.rows + 1}, {rows}) AS i"
             f" JOIN {self.name} AS p ON p.id = (i - 1) % {self.pictures} + 1 ORDER BY i")
        self.rows = rows
        self.tidy()


@dataclasses.dataclass
class SqlCell(Cell):
    session: Session = None
    table: Table = None
    model: str = ""
    batch_size: int = 0    # 0: row by row
    known_rate: float = 0  # rows a second, about
    begin: int = 0         # the last row that was read
    outside: list = dataclasses.field(default_factory=list)  # one image at a time: us of each that were not the model's, by turns

    def statement(self, begin, rows):
        return (f"SELECT count(ic_infer('{self.model}', image)) FROM {self.table.name}"
                f" WHERE id > {begin} AND id <= {begin + rows}")

    def settings(self):
        return (f"SET imagecalc.enable_batch_infer = {'on' if self.batch_size else 'off'}",
                f"SET imagecalc.batch_size = {self.batch_size or 1}")

    # The next rows, from the first one again after the last.
    def time(self, rows):
        self.table.grow(rows)
        if self.begin + rows > self.table.rows:
            self.begin = 0
        begin = time.monotonic()
        self.session.ask(*self.settings(), self.statement(self.begin, rows))
        self.begin += rows
        return time.monotonic() - begin

    # Whole batches: a smaller one at the end would have the runner look for a plan for its size.
    def whole_batches(self, rows):
        size = max(self.batch_size, 1)
        return max(1, round(rows / size)) * size

    # First the runner finds its plan, in batches half as large, which it takes for such; then as many rows as make a rate that
    # another run confirms. The table gets as many as there is time for.
    def prepare(self, seconds):
        self.session.ask("LOAD 'imagecalc'", "SELECT 1")
        half = dataclasses.replace(self, batch_size=(self.batch_size + 1) // 2)
        half.time(WARM_BATCHES * half.whole_batches(0))
        rows = self.whole_batches(0)
        target, rate, limit = min(seconds, 2), 0, time.monotonic() + 30
        while True:
            elapsed = self.time(rows)
            last, rate = rate, rows / elapsed
            if elapsed > target / 2 and (rate < 1.1 * last or time.monotonic() > limit):
                break
            rows = self.whole_batches(min(rate * target, 8 * rows))
        self.known_rate = rate
        self.table.grow(self.whole_batches(rate * seconds))

    def run(self, seconds):
        rows = self.whole_batches(self.known_rate * seconds)
        if self.batch_size > 1:
            return rows, self.time(rows)
        before = self.model_seconds()
        elapsed = self.time(rows)
        self.outside.append(1e6 * (elapsed - (self.model_seconds() - before)) / rows)
        return rows, elapsed

    # Since the runner began, by its own clock.
    def model_seconds(self):
        return float(self.session.ask(f"SELECT model_ms FROM ic_stat_models WHERE name = '{self.model}'")) / 1000

    def explain(self):
        edge, batch = self.bout
        chosen = psql("SELECT engine, plan FROM ic_stat_plans"
                      f" WHERE name = '{self.model}' AND height = {edge} AND batch = {batch} AND chosen")
        self.note = describe_plan(*chosen.strip().split("|"))
        if not self.batch_size:
            return
        rows = self.whole_batches(2 * self.known_rate)
        self.table.grow(rows)
        plan = psql(f"LOAD 'imagecalc'; {'; '.join(self.settings())};"
                    f" EXPLAIN (ANALYZE, FORMAT JSON) {self.statement(0, rows)}")
        whole = json.loads(plan)[0]
        node = find_node(whole["Plan"])
        times = {part: node[f"{part.capitalize()} Time"] for part in PARTS}
        self.shares = {part: ms / whole["Execution Time"] for part, ms in times.items()}
        around = times["fetch"] + times["transfer"] + times["decode"]
        self.shares["cpu"] = around / (around + times["model"])


def find_node(plan):
    if plan.get("Custom Plan Provider") == "ImageInfer":
        return plan
    return next(filter(None, map(find_node, plan.get("Plans", []))), None)


def describe_plan(engine, plan):
    return engine if plan == engine else f"{engine}, {plan}"


@dataclasses.dataclass
class HelperCell(Cell):
    helper: Helper = None
    words: tuple = ()

    def run(self, seconds):
        images, elapsed, *note = self.helper.ask(*self.words, seconds)
        if note:
            self.note = describe_plan(note[0], " ".join(note[1:]))
        return int(images), float(elapsed)


@dataclasses.dataclass
class PeerCell(HelperCell):
    # All at once: it begins with a warm-up each time.
    def turn(self, seconds):
        return seconds


@dataclasses.dataclass
class SessionsCell(Cell):
    script: pathlib.Path = None
    clients: int = 1

    # All at once: at the beginning each session looks everything up.
    def turn(self, seconds):
        return seconds

    def prepare(self, seconds):
        self.run(1)

    def run(self, seconds):
        seconds = max(1, round(seconds))
        done = subprocess.run(["pgbench", "-n", "-M", "prepared", "-c", str(self.clients), "-j", str(min(self.clients, 2)),
                               "-T", str(seconds), "-f", str(self.script)], text=True, capture_output=True)
        if done.returncode:
            sys.exit(done.stderr)
        return float(re.search(r"tps = ([\d.]+)", done.stdout)[1]) * seconds, seconds


# ---- the cells of a net

def model_file(options, net):
    return pathlib.Path(options.models).resolve() / f"{net}.pt"


# As NET_EDGE, for tensors of that size.
def import_model(options, net, edge):
    source = FORMATS.get(edge, f"rgb@{RGB_EDGE}")
    labels = ",".join(f"class {i}" for i in range(options.classes))
    psql(f"SELECT ic_import_model('{net}_{edge}', '{model_file(options, net)}', labels => '{{{labels}}}',"
         f" input => '{source}')")


class Net:
    def __init__(self, name, options, tables, work):
        self.name, self.options, self.tables = name, options, tables
        self.file = model_file(options, name)
        for edge in (*FORMATS, RGB_EDGE):
            import_model(options, name, edge)
        self.script = work / f"{name}.sql"
        self.script.write_text(f"\\set id random(1, {tables[24].pictures})\n"
                               f"SELECT ic_infer('{name}_24', image) FROM {tables[24].name} WHERE id = :id;\n")
        self.loops = {engine: Helper(options.loop, self.file, options.threads, engine)
                      for engine in (options.engine, *ENGINES)}
        self.session = Session()
        self.peers = {"PyTorch, DataLoader": Helper(*self.peer_command("/usr/bin/python3", "torch", ".pt"))}
        if options.onnx_python:
            command = self.peer_command(options.onnx_python, "onnxruntime", ".onnx")
            self.peers["ONNX Runtime, libjpeg-turbo"] = Helper(*command)
        self.cells = [*self.sql_cells(), *self.session_cells(), *self.loop_cells(), *self.peer_cells()]

    def peer_command(self, python, kind, suffix):
        workers = max(1, os.cpu_count() - self.options.threads)
        return (python, HERE / "infer_peers.py", kind, self.file.with_suffix(suffix), self.options.pictures, RGB_EDGE,
                self.options.threads, workers)

    def batches(self, edge):
        if self.options.full or edge == 24:
            return (1, 32, 128)
        return (JPEG_BATCH,) if edge == RGB_EDGE else (128,)

    def edges_by_row(self):
        return tuple(self.tables) if self.options.full else (24, RGB_EDGE)

    def sql_cells(self):
        for edge, table in self.tables.items():
            what = f"SQL, icimage {edge}x{edge}" if edge in FORMATS else "SQL, JPEG"
            for batch in self.batches(edge):
                jpeg = batch if batch in self.batches(RGB_EDGE) else JPEG_BATCH
                yield SqlCell(what, str(batch), (edge, batch), ("SQL, JPEG", str(jpeg)), (bare_name(edge), str(batch)),
                              session=self.session, table=table, model=f"{self.name}_{edge}", batch_size=batch)
            if edge in self.edges_by_row():
                yield SqlCell(what, "row by row", (edge, 1), ("SQL, JPEG", "row by row"), (bare_name(edge), "1"),
                              session=self.session, table=table, model=f"{self.name}_{edge}")

    def session_cells(self):
        for clients in (1, 2, 4, 8, 16) if self.options.full else (1, 16):
            yield SessionsCell(f"SQL, icimage 24x24, {clients} session{'s'[:clients > 1]}", "a row a query", (24, 128),
                               ("SQL, JPEG", "row by row"), ("SQL, icimage 24x24", "128"), script=self.script,
                               clients=clients)

    def loop_cells(self):
        for edge in self.tables if self.options.full else (24,):  # finding plans for large tensors takes minutes
            alone = {1} if edge in self.edges_by_row() else set()
            for batch in sorted(alone.union(self.batches(edge))):
                yield HelperCell(bare_name(edge), str(batch), (edge, batch), helper=self.loops[self.options.engine],
                                 words=(edge, batch))
        for engine in ENGINES:
            for batch in self.batches(24) if self.options.full else (1, 128):
                yield HelperCell(f"{bare_name(24)}, {engine}", str(batch), (24, batch), bare=(bare_name(24), str(batch)),
                                 helper=self.loops[engine], words=(24, batch))

    def peer_cells(self):
        for name, helper in self.peers.items():
            batch = str(JPEG_BATCH)
            yield PeerCell(name, batch, (RGB_EDGE, JPEG_BATCH), ("SQL, JPEG", batch), (bare_name(RGB_EDGE), batch),
                           helper=helper, words=(JPEG_BATCH,))

    def measure(self):
        for number, cell in enumerate(self.cells, 1):
            cell.prepare(self.options.seconds)
            say(f"{self.name}, prepared {number} of {len(self.cells)}: {cell.name}, {cell.batch}")
        for repeat in range(1, REPEATS + 1):
            for bout in dict.fromkeys(cell.bout for cell in self.cells):
                cells = [cell for cell in self.cells if cell.bout == bout]
                take_turns(cells, self.options.seconds / REPEATS)
                rates = ", ".join(format_rate(cell.rates[-1]) for cell in cells)
                say(f"{self.name}, repeat {repeat} of {REPEATS}, {bout[0]}x{bout[0]} by {bout[1]}: {rates} images/s")
        say(f"{self.name}: where the time goes")
        for cell in self.cells:
            cell.explain()

    def close(self):
        for edge in self.tables:
            psql(f"SELECT ic_drop_model('{self.name}_{edge}')")
        for helper in (self.session, *self.loops.values(), *self.peers.values()):
            helper.close()


def take_turns(cells, seconds):
    while late := [cell for cell in cells if not cell.is_done(seconds)]:
        for cell in late:
            cell.take_turn(seconds)
    for cell in cells:
        cell.end_repeat()


def bare_name(edge):
    return f"bare engine loop {edge}x{edge}"


# ---- memory over many images

SMALL_NET = "mobilenet_v3_small"


def memory_of(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s*(\d+) kB", status)[1]) / 1024


def measure_memory(options, table, images):
    """Private memory of the runner and of the session's process, in MB, after each tenth of the images."""
    rows = images // 10
    table.grow(rows)
    import_model(options, SMALL_NET, 24)
    session = Session()
    lines = ["### Memory", "", f"{SMALL_NET} at 24x24, all in one session. MB of private memory after so many images.", "",
             "| images | runner | session's process |", "|---:|---:|---:|"]
    backend = session.ask("SELECT pg_backend_pid()")
    for done in range(rows, images + 1, rows):
        session.ask(f"SELECT count(ic_infer('{SMALL_NET}_24', image)) FROM {table.name} WHERE id <= {rows}")
        runner = session.ask("SELECT pid FROM ic_stat_runner")
        lines.append(f"| {done} | {memory_of(runner):.1f} | {memory_of(backend):.1f} |")
        say(f"memory after {done} images: runner {memory_of(runner):.1f} MB, session {memory_of(backend):.1f} MB")
    session.close()
    psql(f"SELECT ic_drop_model('{SMALL_NET}_24')")
    return "\n".join([*lines, ""])


# ---- the first call of a session

FIRST_CALLS = 20  # sessions
LATER_CALLS = 5


def first_and_later(query, options):
    """Milliseconds that a new session takes for its first query, for later ones, and more for the first."""
    session = Session(options)
    session.ask("SELECT 1")
    times = []
    for _ in range(1 + LATER_CALLS):
        begin = time.monotonic()
        session.ask(query)
        times.append(1000 * (time.monotonic() - begin))
    session.close()
    later = statistics.median(times[1:])
    return times[0], later, times[0] - later


def measure_first_calls(options, table):
    import_model(options, SMALL_NET, 24)
    row = f"FROM {table.name} WHERE id = 1"
    inference = f"SELECT ic_infer('{SMALL_NET}_24', image) {row}"
    for _ in range(WARM_BATCHES):
        psql(inference)
    lines = ["### A session's first call", "", f"{SMALL_NET} at 24x24, one row by its key, warm runner, new sessions in turns;"
             f" medians of {FIRST_CALLS}, in ms.", "", "| query | first | later | more |", "|---|---:|---:|---:|"]
    preloaded = "-c session_preload_libraries=imagecalc"
    queries = {"the row's key": (f"SELECT id {row}", ""), "ic_infer": (inference, ""),
               "ic_infer, the library preloaded": (inference, preloaded)}
    taken = {what: [] for what in queries}
    for _ in range(FIRST_CALLS):
        for what, query in queries.items():
            taken[what].append(first_and_later(*query))
    for what, times in taken.items():
        first, later, more = map(statistics.median, zip(*times))
        lines.append(f"| {what} | {first:.2f} | {later:.2f} | {more:.2f} |")
    psql(f"SELECT ic_drop_model('{SMALL_NET}_24')")
    return "\n".join([*lines, ""])


# ---- the report

LEGEND = """\
Images a second are medians of {repeats} repeats; spread is the greatest less the least of them, over the median. In a repeat,
cells of the same tensor size and batch take turns of a second. The two ratios are medians, over all pairs of turns where both took
them side by side, else over the repeats: to SQL over JPEG on the same engine (in batches of {jpeg_batch} where its cell of the
same batch is missing), and to the engine's bare loop on tensors of the same size and batch (row by row: at batch 1; sessions: to
one session in batches of 128 instead). Fetch, transfer, decode, model and wait are parts of the elapsed time, as EXPLAIN (ANALYZE)
says: they overlap. The last column is the part of fetch, transfer and decode in the time of these and the model together."""

HEAD = ("| what | batch | images/s | spread | / JPEG | / bare loop | fetch | transfer | decode | model | wait | all but model |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")


def format_rate(rate):
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


# Pairs of rates, measured as near to each other as there are: the nth turns of both, where they take turns, or whole repeats.
def paired_rates(cell, other):
    if cell.bout != other.bout or cell.turn(math.inf) != other.turn(math.inf):
        return list(zip(cell.rates, other.rates))
    return [(mine[0] / mine[1], its[0] / its[1])
            for turns in zip(cell.repeats, other.repeats) for mine, its in zip(*turns)]


def ratio(cell, cells, key):
    if key not in cells or key == cell.key:
        return "-"
    return f"{statistics.median(mine / other for mine, other in paired_rates(cell, cells[key])):.3g}"


def above_loop(cells, batch, what):
    cell = cells["SQL, icimage 24x24", batch]
    more = [1e6 / mine - 1e6 / loop for mine, loop in paired_rates(cell, cells[bare_name(24), "1"])]
    low, middle, high = statistics.quantiles(more, n=4)
    return (f"{what} takes {middle:.0f} us more than the bare loop at batch 1 (median of {len(more)} pairs of turns; the middle half"
            f" of them {low:.0f} to {high:.0f}), of which {statistics.median(cell.outside):.0f} us are not the model's (median of"
            " turns).")


def row_of(cell, cells):
    shares = [f"{cell.shares[part]:.1%}" if cell.shares else "-" for part in (*PARTS, "cpu")]
    spread = (max(cell.rates) - min(cell.rates)) / cell.rate
    batch = f"{cell.batch} ({cell.note})" if cell.note else cell.batch
    columns = [cell.name, batch, format_rate(cell.rate), f"{spread:.0%}", ratio(cell, cells, cell.jpeg),
               ratio(cell, cells, cell.bare), *shares]
    return f"| {' | '.join(columns)} |"


def table_of(net):
    cells = {cell.key: cell for cell in net.cells}
    above = (above_loop(cells, "row by row", "A row by itself at 24x24"), above_loop(cells, "1", "A row in batches of one"))
    return "\n".join([f"### {net.name}", "", *HEAD, *(row_of(cell, cells) for cell in net.cells), "", *above, ""])


def heading(options, tables):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    server = psql("SHOW server_version").split()[0]
    return (f"{datetime.date.today()}, {os.cpu_count()} cores, {cpu[1] if cpu else os.uname().machine}, PostgreSQL {server};"
            f" {tables[24].pictures} pictures, {options.threads} thread{'s'[:options.threads > 1]} of engine {options.engine},"
            f" {options.seconds:g} s of work a cell.\n\n"
            + LEGEND.format(repeats=REPEATS, jpeg_batch=JPEG_BATCH) + "\n")


def parse_options():
    parser = argparse.ArgumentParser()
    for name in ("--loop", "--models", "--pictures"):
        parser.add_argument(name, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--onnx-python")
    parser.add_argument("--nets", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--engine", choices=("auto", "libtorch", "openvino"), required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out")
    return parser.parse_args()


def main():
    options = parse_options()
    psql("CREATE EXTENSION imagecalc")
    psql("LOAD 'imagecalc';\n"
         f"ALTER SYSTEM SET imagecalc.runner_threads = {options.threads};\n"
         f"ALTER SYSTEM SET imagecalc.engine = {options.engine};\nSELECT pg_reload_conf();")
    say("converting the pictures")
    tables = {edge: Table(f"values_{edge}", f"icimage('{form}')") for edge, form in FORMATS.items()}
    tables[RGB_EDGE] = Table("jpegs", "bytea")
    report = [heading(options, tables)]
    print(report[0], flush=True)
    for name in options.nets:
        net = Net(name, options, tables, pathlib.Path(options.models))
        net.measure()
        net.close()
        report.append(table_of(net))
        print(report[-1], flush=True)
    if SMALL_NET in options.nets:
        report.append(measure_first_calls(options, tables[24]))
        print(report[-1], flush=True)
        report.append(measure_memory(options, tables[24], 100_000 if options.quick else 1_000_000))
        print(report[-1], flush=True)
    if options.out:
        pathlib.Path(options.out).write_text("\n".join(report))
    say("done")


if __name__ == "__main__":
    main()

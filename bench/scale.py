"""Measures statistics, reports and late changes over a large warehouse, and holds them against the targets.

    scale.py --binary TILLHOUSE --example SCALE [--only PART]...

The warehouse is made by the example `scale` of the tests (tests/examples/scale), through the lake's own writers, and kept in the cache: 500 sites of 4 sources, 6 currencies, 60
products and 40 combinations of payment labels over ten years. A later run finds it there.

  statistics  every statistic with growth for a day, two weeks, a month, a year, five and ten years: of everything, of one site, of one source, in a zone an hour off UTC; in one process, and by
              `tillhouse stats` from its start to its exit
  facts       the same counted from the facts of all sales, beside DuckDB over the same files: a query a figure, and three wide queries; then with less memory
  sandbox     the same over sales that a sync has read from the sandbox
  reports     every built-in report over all sales
  changes     new and changed sales in one table, beside MERGE of delta-rs
  sync        a month that is read again, half of it changed, beside the first load of that month

Medians count, and for memory the worst run. Answers are compared: roll-ups with facts, facts with DuckDB. Run by the Python of the tests (`tests/python/requirements.txt`), which has
DuckDB and delta-rs.

Environment: BENCH_SALES (10000000; several with commas between them are compared, and the parts after the first are measured of the first), BENCH_SANDBOX_SALES (500000), BENCH_RUNS
(5), TILLHOUSE_CACHE.
"""

import argparse
import dataclasses
import decimal
import http.client
import json
import os
import pathlib
import re
import shutil
import statistics
import sys
import tempfile
import urllib.parse

import bench
from bench import HERE, Server, Stop, Tillhouse, environment, machine, measure, number, say, verdicts
from deltalake import DeltaTable
from memory import ABOVE_LIMIT_MIB

SEED = 1
MEMORY_MIB = 512
# Limits that the facts are counted within as well.
SCANT_MIB = (64, 256)
# The example's years, and where its sales end.
FIRST, END = "2015-01-01", "2025-01-01"
WINDOWS = {
    "a day": ("2024-06-12T00:00:00Z", "2024-06-13T00:00:00Z"),
    "two weeks": ("2024-06-03T00:00:00Z", "2024-06-17T00:00:00Z"),
    "a month": ("2024-06-01T00:00:00Z", "2024-07-01T00:00:00Z"),
    "a year": ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    "five years": ("2020-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    "ten years": ("2015-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
}
AN_HOUR_OFF = {
    "a day": ("2024-06-11T23:00:00Z", "2024-06-12T23:00:00Z"),
    "two weeks": ("2024-06-02T23:00:00Z", "2024-06-16T23:00:00Z"),
    "a month": ("2024-05-31T23:00:00Z", "2024-06-30T23:00:00Z"),
    "a year": ("2023-12-31T23:00:00Z", "2024-12-31T23:00:00Z"),
    "five years": ("2019-12-31T23:00:00Z", "2024-12-31T23:00:00Z"),
    "ten years": ("2014-12-31T23:00:00Z", "2024-12-31T23:00:00Z"),
}
ONE_SITE = {"field": "site_id", "operator": "eq", "value": "S0080"}
# What only transactions have: articles and payments go by the keys of those that pass.
DEAR = {"field": "amount", "operator": "gte", "value": 50}
# Reports about a period, a date, and two periods that are compared.
OF_A_PERIOD = ["revenue-summary", "best-selling-products", "event-counts"]
OF_A_DATE = ["summary", "heat-map"]
OF_TWO_PERIODS = ["products", "payment-types", "events", "shift-payments", "shift-products"]
# Late changes in one table: sales of a new month, and how many of them change.
NEW, CHANGED = 100_000, 50_000
# The whole sync: a month of the sandbox's sales.
MONTH, MONTH_SALES = ("2025-01-01", "2025-02-01"), 95_000

# The targets. Seconds, unless they are ratios.
GENERATED = 20
IN_PROCESS, COLD, FLAT = 0.050, 0.150, 1.5
ROLL_UPS = 0.05
OF_DUCKDB = 0.5
REPORT = 1.0
OF_FIRST_LOAD, WRITTEN_MB, SYNC_MIB = 1.5, 60, 512
OF_MERGE, OF_EMPTY = 1.0, 1.3


@dataclasses.dataclass
class Bench:
    binary: pathlib.Path
    example: pathlib.Path
    work: pathlib.Path
    runs: int
    lines: list = dataclasses.field(default_factory=list)

    def goal(self, what, value, target, unit=""):
        self.lines.append((what, value, target, unit))

    def folder(self, name):
        return pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.work))

    def ask(self, *command, seconds=bench.LIMIT):
        """What a command took, and the lines of JSON that it printed."""
        folder = self.folder("asked")
        run = measure([str(word) for word in command], folder, environment(), seconds)
        lines = (folder / "log.txt").read_text(errors="replace").splitlines()
        return run, [json.loads(line) for line in lines if line.startswith("{")]

    def time(self, warehouse, cases, memory_mib=MEMORY_MIB):
        """Answers of the cases by name, and what the process took."""
        asked = self.folder("cases") / "cases.json"
        asked.write_text(json.dumps(cases))
        run, lines = self.ask(self.example, "time", warehouse, asked, memory_mib)
        return run, {line["name"]: line for line in lines}


def median(seconds):
    return statistics.median(seconds)


def milliseconds(seconds):
    return f"{median(seconds) * 1e3:.1f} ({min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})"


def heading(text, *columns):
    print(f"\n{text}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def row(*cells):
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def link_tree(source, target):
    """A copy of a folder whose files are shared: the program writes files anew under new names, and never into one that is there."""
    shutil.copytree(source, target, copy_function=os.link)


@dataclasses.dataclass
class Made:
    """A generated warehouse."""

    sales: int
    folder: pathlib.Path
    tables: dict

    @property
    def warehouse(self):
        return self.folder / "warehouse"

    def bytes(self, *names):
        return sum(size["bytes"] for path, size in self.tables.items() if path.startswith(names))


def kept():
    """The folder of the warehouses. What is measured of copies lies beside them, so that their files can be shared."""
    cache = pathlib.Path(os.environ.get("TILLHOUSE_CACHE") or pathlib.Path.home() / ".cache/tillhouse")
    folder = cache / "bench-scale"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def generate(bench_run, sales):
    folder = kept() / str(sales)
    say(f"{sales} sales in {folder}")
    run, [made] = bench_run.ask(bench_run.example, "generate", folder, sales, SEED, seconds=4 * bench.LIMIT)
    seconds = made["seconds"]
    facts, tables = ("unified/transactions", "unified/articles", "unified/payments"), made["tables"]
    rows = sum(tables[path]["rows"] for path in facts)
    for stage, taken in seconds.items():
        say(f"  {stage}: {taken:.1f} s{' when they were made' if made['reused'] else ''}")
    found = Made(sales, folder, tables)
    of_facts, of_roll_ups = found.bytes(*facts), found.bytes("statistics/")
    heading(f"The warehouse of {sales:,} sales, {'found' if made['reused'] else f'made with a peak of {run.peak_mib:.0f} MiB'}", "what", "rows", "files", "MB")
    for path, size in tables.items():
        if path.startswith(("unified/", "statistics/")):
            row(path, f"{size['rows']:,}", size["files"], f"{size['bytes'] / 1e6:.1f}")
    print(f"\n{rows:,} rows of facts in {seconds['facts']:.1f} s, roll-ups in {seconds['roll-ups']:.1f} s; {of_facts / sales:.0f} bytes a sale.")
    bench_run.goal(f"a million of {sales:,} sales written", seconds["facts"] / sales * 1e6, GENERATED, " s")
    bench_run.goal(f"roll-ups of {sales:,} sales, of the facts' bytes", of_roll_ups / of_facts, ROLL_UPS)
    return found


def statistics_cases(runs):
    cases = []
    for window, (first, last) in WINDOWS.items():
        add = lambda what, first=first, last=last, **more: cases.append({"name": f"{window}, {what}", "from": first, "to": last, "runs": runs, **more})
        add("everything")
        add("one site", filter=ONE_SITE)
        add("one source", source="hecone")
        off = AN_HOUR_OFF[window]
        add("UTC+1", off[0], off[1], timezone="+01:00")
        add("hours of the day", hours="of_day")
    return cases


def in_process(bench_run, warehouses):
    found = [bench_run.time(made.warehouse, statistics_cases(bench_run.runs)) for made in warehouses]
    columns = [f"{made.sales:,} sales: ms (fastest to slowest), of it opening" for made in warehouses]
    heading("Statistics in process, a fresh session each", "window", "answered from", *columns, "ratio")
    first = found[0][1]
    for name, answer in first.items():
        answers = [answers[name] for _, answers in found]
        times = [f"{milliseconds(one['seconds'])}, {median(one['opening']) * 1e3:.1f}" for one in answers]
        ratio = median(answers[-1]["seconds"]) / median(answer["seconds"])
        row(name, answer["from"], *times, f"{ratio:.2f}" if len(answers) > 1 else "-")
    for made, (run, answers) in zip(warehouses, found):
        slowest = max(answers.values(), key=lambda answer: median(answer["seconds"]))
        bench_run.goal(f"slowest of {made.sales:,} sales in process ({slowest['name']})", median(slowest["seconds"]) * 1e3, IN_PROCESS * 1e3, " ms")
        print(f"\nPeak of {made.sales:,} sales: {run.peak_mib:.0f} MiB.")
    for made, (_, answers) in list(zip(warehouses, found))[1:]:
        ratios = {name: median(answer["seconds"]) / median(first[name]["seconds"]) for name, answer in answers.items()}
        worst = max(ratios, key=ratios.get)
        bench_run.goal(f"{made.sales:,} sales of {warehouses[0].sales:,} in process ({worst})", ratios[worst], FLAT)


def cold(bench_run, made):
    """`tillhouse stats`, a process each time."""
    project = Tillhouse(bench_run.binary, "http://127.0.0.1:1", FIRST, END)
    project.command(made.folder)
    heading(f"`tillhouse stats` of {made.sales:,} sales, from start to exit", "window", "ms (fastest to slowest)", "peak, MiB")
    medians = {}
    for window, (first, last) in WINDOWS.items():
        command = [bench_run.binary, "--project", str(made.folder), "stats", "--from", first, "--to", last, "--format", "json"]
        taken = [measure(command, bench_run.folder("cold"), Tillhouse.env) for _ in range(bench_run.runs + 1)][1:]
        walls = [run.wall for run in taken]
        medians[window] = median(walls)
        row(window, milliseconds(walls), f"{max(run.peak_mib for run in taken):.0f}")
    worst = max(medians, key=medians.get)
    bench_run.goal(f"slowest `stats` of {made.sales:,} sales ({worst})", medians[worst] * 1e3, COLD * 1e3, " ms")


def data_files(warehouse, table):
    return [uri.removeprefix("file://") for uri in map(urllib.parse.unquote, DeltaTable(warehouse / "unified" / table).file_uris())]


def by_duckdb(bench_run, warehouse, window, before, condition):
    tables = ["transactions", "articles", "payments", "sites", "products"]
    asked = {
        "tables": {name: data_files(warehouse, name) for name in tables},
        **{"from": window[0], "to": window[1], "before": before, "condition": condition},
        **{"memory_mib": MEMORY_MIB, "runs": bench_run.runs},
    }
    file = bench_run.folder("duckdb") / "asked.json"
    file.write_text(json.dumps(asked))
    run, [answer] = bench_run.ask(sys.executable, "-B", HERE / "peer_figures.py", file)
    return run, answer


def same(ours, theirs):
    """True if two answers agree, as far as they are compared: a currency that sold nothing in the window may be in one of them."""
    exact = lambda figures: {**figures, "amount": decimal.Decimal(figures["amount"]), "paid": sorted(map(decimal.Decimal, figures["paid"]))}
    sold = lambda answer: {currency: exact(figures) for currency, figures in answer.items() if figures["transactions"] or figures["paid"] or figures["articles"]}
    return sold(ours) == sold(theirs)


def facts(bench_run, what, warehouse, window, before):
    """All eleven statistics from the facts, beside DuckDB."""
    cases = {f"{what}": (None, None), f"{what}, amount of 50 and more": (DEAR, "amount >= 50")}
    heading(f"From the facts: {what}", "what", "seconds", "of DuckDB's eleven", "DuckDB: eleven queries", "three wide ones", "reads of data files, MB", "peaks: ours, DuckDB's, MiB")
    for name, (descriptor, condition) in cases.items():
        case = {"name": name, "from": window[0], "to": window[1], "runs": bench_run.runs, "facts": True}
        case |= {"filter": descriptor} if descriptor else {}
        run, answers = bench_run.time(warehouse, [case])
        answer = answers[name]
        peer, theirs = by_duckdb(bench_run, warehouse, window, before, condition)
        if not same(answer["figures"], theirs["compared"]):
            raise Stop(f"{name}: two answers\n{json.dumps(answer['figures'])}\n{json.dumps(theirs['compared'])}")
        if not descriptor:
            rolled = bench_run.time(warehouse, [{**case, "facts": False, "runs": 1}])[1][name]
            if rolled["figures"] != answer["figures"]:
                raise Stop(f"{name}: the {rolled['from']} say {json.dumps(rolled['figures'])}\nthe facts {json.dumps(answer['figures'])}")
        wall = median(answer["seconds"])
        eleven, wide = (sum(median(seconds) for seconds in theirs[which].values()) for which in ("figures", "wide"))
        reads = f"{answer['data_gets']}, {answer['bytes_read'] / 1e6:.0f}"
        row(name, f"{wall:.2f}", f"{wall / eleven:.2f}", f"{eleven:.2f}", f"{wide:.2f}", reads, f"{run.peak_mib:.0f}, {peer.peak_mib:.0f}")
        bench_run.goal(f"{name}, of DuckDB's", wall / eleven, OF_DUCKDB)
        bench_run.goal(f"{name}, peak with a limit of {MEMORY_MIB} MiB", run.peak_mib, MEMORY_MIB + ABOVE_LIMIT_MIB, " MiB")
        for limit in SCANT_MIB:
            within(bench_run, warehouse, {**case, "runs": 1}, limit, answer["figures"])


def within(bench_run, warehouse, case, limit, figures):
    """The same with less memory. An answer that is refused is a goal that is missed, and no end of the benchmark."""
    name = case["name"]
    try:
        run, answers = bench_run.time(warehouse, [case], limit)
    except Stop as stop:
        say(f"{name}, with {limit} MiB: {stop}")
        peak = float("inf")
    else:
        if answers[name]["figures"] != figures:
            raise Stop(f"{name}: with {limit} MiB another answer\n{json.dumps(answers[name]['figures'])}\n{json.dumps(figures)}")
        peak = run.peak_mib
        row(f"{name}, with {limit} MiB", f"{median(answers[name]['seconds']):.2f}", *["-"] * 4, f"{peak:.0f}, -")
    bench_run.goal(f"{name}, peak with a limit of {limit} MiB", peak, limit + ABOVE_LIMIT_MIB, " MiB")


def sandbox(bench_run):
    """The same over sales that were read from the sandbox, a month of them."""
    sales = number("BENCH_SANDBOX_SALES", 500_000)
    folder = bench_run.folder("sandbox")
    with Server(bench_run.binary, sales, folder) as server:
        project = Tillhouse(bench_run.binary, server.url() + "/hecone")
        loaded = measure(project.command(folder / "project"), folder, Tillhouse.env)
        say(f"{sales} sales of the sandbox loaded in {loaded.wall:.1f} s")
    instant = lambda day: f"{day}T00:00:00Z"
    half = "2025-12-17"
    facts(bench_run, f"the later half of {sales:,} of the sandbox's", folder / "project/warehouse", (instant(half), instant(bench.LAST)), instant(bench.FIRST))


def report_cases(runs):
    """Every report over all sales, and over a year or, where it compares, two."""
    cases = []
    add = lambda name, over, first, last=END, **more: cases.append({"name": f"{name}, {over}", "report": name, "from": first, "to": last, "runs": runs, **more})
    for name in OF_A_PERIOD:
        add(name, "ten years", FIRST)
        add(name, "a year", "2024-01-01")
    for name in OF_A_DATE:
        add(name, "a date", "2024-12-31")
    for name in OF_TWO_PERIODS:
        add(name, "five years and the five before", "2020-01-01", compared=f"{FIRST}..2020-01-01")
        add(name, "a year and the one before", "2024-01-01", compared="2023-01-01..2024-01-01")
    return cases


def reports(bench_run, made):
    heading(f"Reports over {made.sales:,} sales", "report", "seconds", "peak, MiB")
    for case in report_cases(min(bench_run.runs, 3)):
        # A process each, so that each has a peak of its own.
        run, answers = bench_run.time(made.warehouse, [case])
        seconds = median(answers[case["name"]]["seconds"])
        row(case["name"], f"{seconds:.2f}", f"{run.peak_mib:.0f}")
        bench_run.goal(f"report {case['name']}", seconds, REPORT, " s")


def copy_table(source, target):
    """One table and what makes the folder a warehouse."""
    for part in ("ops/format", "unified/transactions"):
        link_tree(source / part, target / part)


def changes(bench_run, made):
    """New and changed sales in one table."""
    taken = {name: [] for name in ("large", "empty", "replace", "merge")}
    peaks, last = dict.fromkeys(taken, 0.0), {}
    for turn in range(bench_run.runs):
        folder = bench_run.folder("changes")
        large, empty, peer = folder / "large", folder / "empty", folder / "peer"
        copy_table(made.warehouse, large)
        rows = folder / "changed.parquet"
        steps = {
            "large": (bench_run.example, "add", large, NEW, SEED),
            "empty": (bench_run.example, "add", empty, NEW, SEED),
            "replace": (bench_run.example, "replace", large, NEW, CHANGED, rows, SEED),
            "merge": (sys.executable, "-B", HERE / "peer_merge.py", peer / "unified/transactions", rows, "hecone", MONTH[0][:7]),
            "old": (bench_run.example, "replace-old", large, made.sales, SEED),
        }
        for name, command in steps.items():
            if name == "replace":
                copy_table(large, peer)
            run, [last[name]] = bench_run.ask(*command)
            if name in taken:
                taken[name].append(last[name]["seconds"])
                peaks[name] = max(peaks[name], run.peak_mib)
        if last["merge"]["updated"] != CHANGED or last["merge"]["inserted"] != 0:
            raise Stop(f"MERGE updated {last['merge']['updated']} rows, and {CHANGED} have changed")
        shutil.rmtree(folder)
        say(f"  {turn + 1}: " + ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in taken.items()))
    heading(f"Late changes in `unified/transactions` of {made.sales:,} sales", "what", "seconds (fastest to slowest)", "peak, MiB", "files read", "MB written")
    names = {
        "large": f"{NEW:,} new ones",
        "empty": f"{NEW:,} new ones, into an empty table",
        "replace": f"{CHANGED:,} of them changed",
        "merge": f"{CHANGED:,} of them changed, MERGE of delta-rs",
    }
    for name, what in names.items():
        seconds, told = taken[name], last[name]
        spread = f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        written = f"{told['bytes_written'] / 1e6:.1f}" if "bytes_written" in told else "-"
        row(what, spread, f"{peaks[name]:.0f}", told.get("files_read", "-"), written)
    old = last["old"]
    row("one of three years ago", f"{old['seconds']:.2f}", "-", f"{old['files_read']} of {old['files']}", f"{old['bytes_written'] / 1e6:.1f}")
    bench_run.goal(f"{CHANGED:,} replaced, of MERGE's time", median(taken["replace"]) / median(taken["merge"]), OF_MERGE)
    bench_run.goal(f"{NEW:,} new ones, of adding them to an empty table", median(taken["large"]) / median(taken["empty"]), OF_EMPTY)
    bench_run.goal("files read for a sale of three years ago", old["files_read"], 1)


class ChangingServer:
    """The sandbox, whose records are changed by hand."""

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc

    def request(self, connection, method, path, body=None):
        connection.request(method, f"/control/{path}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Stop(f"{method} /control/{path}: {answer.status} {text[:400]!r}")
        return text

    def change(self, version, count):
        """Changes so many sales, evenly spread, in what was entered and in how the card was read."""
        connection = http.client.HTTPConnection(self.host, timeout=300)
        records = self.request(connection, "GET", "hecone/truth?resource=transactions").splitlines()
        if len(records) < count:
            raise Stop(f"the sandbox has {len(records)} sales, and {count} are to change")
        for place in range(count):
            record = json.loads(records[place * len(records) // count])
            record["customer_data"] = {**(record.get("customer_data") or {}), "additional_info": f"changed {version}"}
            for payment in (record.get("payments") or [])[:1]:
                payment["entry_mode"] = ("Chip", "Contactless", "Swipe")[version % 3]
            self.request(connection, "PUT", "hecone/records?resource=transactions", json.dumps(record))
        connection.close()
        return len(records)


def written_since(folder, before):
    """Bytes of files that were not there, or are others now; and what is there."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            stat = path.stat()
            found[path] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return sum(size[0] for path, size in found.items() if before.get(path) != size), found


def sync(bench_run, made):
    """A month of the sandbox's sales into the large warehouse, and the same month read again."""
    first, again, peaks, written = [], [], [], []
    folder = bench_run.folder("sync")
    with Server(bench_run.binary, MONTH_SALES, folder, *MONTH) as server:
        url = server.url()
        project = Tillhouse(bench_run.binary, url + "/hecone", *MONTH, settings="maintenance: off\n")
        changing = ChangingServer(url)
        for turn in range(min(bench_run.runs, 3)):
            place = folder / f"project-{turn}"
            command = project.command(place)
            at = lambda hour: [command[0], "--now", f"{MONTH[1]}T{hour:02}:00:00Z", *command[1:], "--format", "json"]
            link_tree(made.warehouse, place / "warehouse")
            loaded = measure(at(0), folder, Tillhouse.env)
            sales = changing.change(turn, CHANGED)
            _, before = written_since(place / "warehouse", {})
            run = measure(at(1), folder, Tillhouse.env)
            told = (folder / "log.txt").read_text(errors="replace")
            changed = sum(map(int, re.findall(r'"changed"\s*:\s*(\d+)', told)))
            if changed != CHANGED:
                raise Stop(f"{changed} sales of {CHANGED} were found changed:\n{told[-2000:]}")
            written.append(written_since(place / "warehouse", before)[0] / 1e6)
            first.append(loaded.wall)
            again.append(run.wall)
            peaks.append(run.peak_mib)
            shutil.rmtree(place)
            say(f"  {turn + 1}: {sales} sales loaded in {loaded.wall:.2f} s, read again in {run.wall:.2f} s, {written[-1]:.1f} MB written")
    heading(f"A sync of {MONTH_SALES:,} sales into a warehouse of {made.sales:,}", "what", "seconds (fastest to slowest)", "peak, MiB", "MB written")
    spread = lambda seconds: f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
    row("first load of the month", spread(first), "-", "-")
    row(f"read again, {CHANGED:,} changed", spread(again), f"{max(peaks):.0f}", f"{median(written):.1f}")
    bench_run.goal("a month read again, of its first load", median(again) / median(first), OF_FIRST_LOAD)
    bench_run.goal("written by it", median(written), WRITTEN_MB, " MB")
    bench_run.goal("its peak", max(peaks), SYNC_MIB, " MiB")


PARTS = ["statistics", "facts", "sandbox", "reports", "changes", "sync"]


def sizes():
    text = os.environ.get("BENCH_SALES") or "10000000"
    counts = text.replace("_", "").split(",")
    if not all(count.strip().isdigit() and int(count) > 0 for count in counts):
        raise Stop(f"BENCH_SALES is '{text}', and must be whole numbers with commas between them")
    return [int(count) for count in counts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--example", required=True, type=pathlib.Path, help="the built example `scale` of the tests")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be given several times")
    args = parser.parse_args()
    parts, runs = args.only or PARTS, max(1, number("BENCH_RUNS", 5))
    with tempfile.TemporaryDirectory(prefix="tillhouse-scale-", dir=kept()) as work:
        bench_run = Bench(args.binary.resolve(), args.example.resolve(), pathlib.Path(work), runs)
        machine()
        warehouses = [generate(bench_run, sales) for sales in sizes()]
        made = warehouses[0]
        if "statistics" in parts:
            in_process(bench_run, warehouses)
            for one in warehouses:
                cold(bench_run, one)
        if "facts" in parts:
            facts(bench_run, "five years and the five before", made.warehouse, WINDOWS["five years"], f"{FIRST}T00:00:00Z")
        if "sandbox" in parts:
            sandbox(bench_run)
        if "reports" in parts:
            reports(bench_run, made)
        if "changes" in parts:
            changes(bench_run, made)
        if "sync" in parts:
            sync(bench_run, made)
        return 0 if verdicts(bench_run.lines) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Stop as stop:
        say(f"error: {stop}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

"""Compares `tillhouse sync` with DuckDB and dlt over the same server, and holds the results against the targets.

    bench.py --binary TILLHOUSE [--million] [--url URL]

Every contender is a process of its own, measured from its start to its exit: wall time, processor time, peak resident memory. They
take turns, run by run, so that a machine that is busy for a while disturbs all of them alike; the median of each counts. After every
run its result is counted, outside the measured time: a contender that lost or doubled a record ends the benchmark.

  download   the bare download of every page, nothing kept: what no contender can be faster than
  duckdb     download to files, then read_json of all pages into one zstd Parquet file
  tillhouse  sync: contract-checked, deduplicated, landed, unified and published as Delta tables
  dlt        upsert by id into Delta tables

Environment: BENCH_TRANSACTIONS (100000), BENCH_RUNS (5), BENCH_DLT_RUNS (BENCH_RUNS; 0 leaves dlt out), TILLHOUSE_CACHE.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
FIRST, LAST = "2025-12-02", "2026-01-01"
PAGE_SIZE = 1000
CONNECTIONS = 4

# The targets: wall time against the peers', peak memory in MiB, and how much more of it ten times the data may take.
OF_DUCKDB = 1.0
OF_DLT = 1 / 20
PEAK_MIB = 400
PEAK_GROWTH = 1.2

# A run that takes longer than this, in seconds, hangs.
LIMIT = 1800


class Stop(Exception):
    """The benchmark cannot go on, and why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass
class Run:
    wall: float
    cpu: float
    peak_mib: float


@dataclasses.dataclass
class Contender:
    name: str
    runs: int
    # Both get the run's empty folder.
    command: Callable[[pathlib.Path], list]
    count: Callable[[pathlib.Path], int]
    done: list = dataclasses.field(default_factory=list)

    def median(self, figure):
        return statistics.median(getattr(run, figure) for run in self.done)


def environment(**more):
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, "NO_COLOR": "1", **more}


def measure(command, folder, env, seconds=LIMIT):
    """Runs a command to its end and says what it took; its own children that it waited for are included. One that takes longer than `seconds` is ended."""
    log = folder / "log.txt"
    with log.open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begin
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            limit.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        end = log.read_text(errors="replace")[-4000:]
        raise Stop(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{end}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def output_of(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise Stop(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


class Server:
    """The sandbox with so many transactions, on a free port of the loopback."""

    def __init__(self, binary, transactions, folder, first=FIRST, last=LAST):
        self.log = folder / "sandbox.txt"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [binary, "sandbox", "--port", str(port), "--transactions", str(transactions)]
        command += ["--from", first, "--to", last, "--plain"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=environment(), cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def url(self):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            text = self.log.read_text(errors="replace")
            if found := re.search(r"http://127\.0\.0\.1:\d+", text):
                return found.group(0)
            if self.process.poll() is not None:
                raise Stop(f"the sandbox ended with {self.process.returncode}:\n{text[-4000:]}")
            time.sleep(0.05)
        raise Stop(f"the sandbox has not said where it is:\n{self.log.read_text(errors='replace')[-4000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


def venv(name):
    """The Python of a peer, with what its requirements file pins."""
    folder = pathlib.Path(os.environ.get("TILLHOUSE_CACHE") or pathlib.Path.home() / ".cache/tillhouse") / f"venv-bench-{name}"
    script = HERE.parent / "tests/python/venv.sh"
    subprocess.run([script, folder, HERE / f"requirements-{name}.txt"], check=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    return folder / "bin/python"


def peer(python, script, base, *more):
    where = [base, "--from", FIRST, "--to", LAST, "--page-size", str(PAGE_SIZE), "--connections", str(CONNECTIONS)]
    return [python, "-B", HERE / f"{script}.py", *where, *more]


class Tillhouse:
    """A project of its own for every run, as `tillhouse init` would make it, with the peers' page size and connections."""

    env = environment(TILLHOUSE_PRIVACY_KEY="5e" * 32, SANDBOX_SECRET="sandbox-secret")

    def __init__(self, binary, base, first=FIRST, last=LAST, settings=""):
        self.binary, self.base, self.first, self.last, self.settings = binary, base, first, last, settings

    def command(self, folder):
        (folder / "pipelines/hecone").mkdir(parents=True, exist_ok=True)
        (folder / "tillhouse.yaml").write_text(
            "warehouse: { url: ./warehouse }\nmemory_limit: 256MiB\nprivacy_key: ${TILLHOUSE_PRIVACY_KEY}\n" + self.settings
        )
        (folder / "pipelines/hecone/pipeline.yaml").write_text(
            f"""source: hecone
connection:
  base_url: {self.base}
  client_id: sandbox
  client_secret: ${{SANDBOX_SECRET}}
sync:
  start: {self.first}
  slice: 1d
  lookback: 3d
  concurrency: {CONNECTIONS}
  rate_limit: 100000/s
  page_size: {PAGE_SIZE}
"""
        )
        return [self.binary, "--project", str(folder), "sync", "--from", self.first, "--to", self.last]

    def count(self, folder):
        query = "SELECT count(*) AS n FROM unified.transactions"
        command = [self.binary, "--project", str(folder), "sql", query, "--format", "json"]
        text = output_of(command, env=self.env, cwd=folder)
        found = re.search(r'"n"\s*:\s*"?(\d+)', text)
        if not found:
            raise Stop(f"tillhouse sql printed no count: {text[:400]}")
        return int(found.group(1))

    def contender(self, runs):
        return Contender("tillhouse", runs, self.command, self.count)


def count_parquet(python):
    program = "import duckdb, sys; print(duckdb.sql(f\"SELECT count(DISTINCT id) FROM '{sys.argv[1]}'\").fetchone()[0])"
    return lambda folder: int(output_of([python, "-c", program, folder / "out/transactions.parquet"]))


def count_delta(python):
    program = (
        "import os, sys; from deltalake import DeltaTable;"
        "print(DeltaTable(sys.argv[1]).to_pyarrow_dataset().count_rows(), flush=True); os._exit(0)"
    )
    return lambda folder: int(output_of([python, "-c", program, folder / "out/lake/hecone/transactions"]))


def take_turns(contenders, expected, work):
    for turn in range(max(contender.runs for contender in contenders)):
        for contender in contenders:
            if turn >= contender.runs:
                continue
            folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=work))
            run = measure(contender.command(folder), folder, Tillhouse.env if contender.name == "tillhouse" else environment())
            counted = contender.count(folder)
            if counted != expected:
                raise Stop(f"{contender.name} has {counted} transactions where the server has {expected}")
            shutil.rmtree(folder)
            contender.done.append(run)
            say(f"  {turn + 1}: {contender.name:<10} {run.wall:8.2f} s {run.peak_mib:8.0f} MiB")


def survey(python, base):
    found = json.loads(output_of(peer(python, "peer_download", base, "--survey")))
    if found["distinct"] == 0:
        raise Stop("the server has no transactions in the benchmark's window")
    say(
        f"{found['distinct']} transactions in {found['pages']} pages, {found['bytes'] / 1e6:.0f} MB of JSON, "
        f"{found['bytes'] / found['records'] / 1e3:.2f} kB each"
    )
    return found["distinct"]


def verdicts(lines):
    """Prints the targets, one a line, and says whether all were met."""
    print()
    for what, value, target, unit in lines:
        met = value <= target
        print(f"{'PASS' if met else 'FAIL'}  {what}: {value:.3g}{unit}, at most {target:.3g}{unit}")
    return all(value <= target for _, value, target, _ in lines)


def machine():
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; median of the runs, from start to exit")
    print()


def table(contenders):
    by_name = {contender.name: contender for contender in contenders}
    print(f"{'':<12}{'runs':>5}{'wall s':>10}{'of duckdb':>11}{'of dlt':>9}{'cpu s':>9}{'peak MiB':>10}")
    for contender in contenders:
        wall = contender.median("wall")

        def ratio(name):
            return f"{wall / by_name[name].median('wall'):.3f}" if name in by_name else "-"

        print(
            f"{contender.name:<12}{len(contender.done):>5}{wall:>10.2f}{ratio('duckdb'):>11}{ratio('dlt'):>9}"
            f"{contender.median('cpu'):>9.2f}{contender.median('peak_mib'):>10.0f}"
        )


def compare(base, binary, work, runs, dlt_runs):
    duckdb = venv("duckdb")
    tillhouse = Tillhouse(binary, base).contender(runs)
    expected = survey(duckdb, base)
    contenders = [
        Contender("download", runs, lambda _: peer(duckdb, "peer_download", base), lambda _: expected),
        Contender(
            "duckdb", runs, lambda folder: peer(duckdb, "peer_duckdb", base, "--out", folder / "out"), count_parquet(duckdb)
        ),
        tillhouse,
    ]
    if dlt_runs:
        dlt = venv("dlt")
        contenders.append(
            Contender(
                "dlt", dlt_runs, lambda folder: peer(dlt, "peer_dlt", base, "--out", folder / "out"), count_delta(dlt)
            )
        )
    take_turns(contenders, expected, work)
    machine()
    table(contenders)
    wall = tillhouse.median("wall")
    by_name = {contender.name: contender.median("wall") for contender in contenders}
    lines = [("wall time of DuckDB's", wall / by_name["duckdb"], OF_DUCKDB, "")]
    if dlt_runs:
        lines.append(("wall time of dlt's", wall / by_name["dlt"], OF_DLT, ""))
    # The worst run counts: a limit that holds half of the time is none.
    lines.append(("peak memory", max(run.peak_mib for run in tillhouse.done), PEAK_MIB, " MiB"))
    return verdicts(lines)


def memory(binary, work, transactions, runs):
    """The peak for some transactions and for ten times as many."""
    peaks = []
    machine()
    print(f"{'transactions':>14}{'runs':>5}{'wall s':>10}{'cpu s':>9}{'peak MiB':>10}")
    for number in (transactions, 10 * transactions):
        with Server(binary, number, work) as server:
            base = server.url() + "/hecone"
            expected = survey(venv("duckdb"), base)
            contender = Tillhouse(binary, base).contender(runs)
            take_turns([contender], expected, work)
        peaks.append(max(run.peak_mib for run in contender.done))
        wall, cpu = contender.median("wall"), contender.median("cpu")
        print(f"{expected:>14}{runs:>5}{wall:>10.2f}{cpu:>9.2f}{peaks[-1]:>10.0f}", flush=True)
    return verdicts(
        [
            ("peak memory", max(peaks), PEAK_MIB, " MiB"),
            ("peak memory of ten times the data", peaks[1] / peaks[0], PEAK_GROWTH, ""),
        ]
    )


def number(name, default):
    text = os.environ.get(name) or str(default)
    if not text.isdigit():
        raise Stop(f"{name} is '{text}', and must be a whole number")
    return int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--million", action="store_true", help="tillhouse only, with ten times the transactions as well")
    parser.add_argument("--url", help="a HecOne API that runs already, instead of the sandbox")
    args = parser.parse_args()
    transactions = number("BENCH_TRANSACTIONS", 100_000)
    runs = max(1, number("BENCH_RUNS", 1 if args.million else 5))
    binary = args.binary.resolve()
    with tempfile.TemporaryDirectory(prefix="tillhouse-bench-") as work:
        work = pathlib.Path(work)
        if args.million:
            met = memory(binary, work, transactions, runs)
        elif args.url:
            met = compare(args.url, binary, work, runs, number("BENCH_DLT_RUNS", runs))
        else:
            with Server(binary, transactions, work) as server:
                met = compare(server.url() + "/hecone", binary, work, runs, number("BENCH_DLT_RUNS", runs))
    return 0 if met else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Stop as stop:
        say(f"error: {stop}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

"""Measures `tillhouse serve` under load: how long answers take, what is refused, and how much memory it takes.

    serve.py --binary TILLHOUSE [--seconds 60] [--runs 3] [--transactions 20000] [--only PART] [--write docs/performance.md]

    kept      statistics that are kept by run and question: a few connections that send requests ahead
    load      200 clients over HTTP and 50 sessions of PostgreSQL's protocol at once, each of which asks again as soon as it is answered
    rude      connections on which nobody says anything, on all three protocols; slow readers and clients that vanish, over HTTP and PostgreSQL's; a thousand connections over HTTP
    sync      a sync of three sources alone, beside a server of a fourth that is asked 20 times a second, and beside one whose every slot is taken

A demo's warehouse is made in a temporary folder and served on ports of the loopback that are free, with the settings that hold where nothing is said. Clients are processes of
their own on the same machine, and take what they take from it; beside a sync they run at nice 10. Of answers over HTTP nine in ten may be kept ones, and the tenth, as all of PostgreSQL's, is made anew.
Everything that is started is ended, by its own process id.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from bench import Stop, environment, machine, measure, output_of, say, verdicts
from latency import LAST, Sandbox, write_sources

HTTP_CLIENTS, SQL_SESSIONS = 200, 50
# Requests that a connection sends ahead where answers are kept.
AHEAD = 16
# The goals: answers a second, growth of memory from the second quarter to the last, the slowdown of a sync, seconds until somebody rude is gone, and the memory of all of them.
KEPT_RATE, GROWTH, BESIDE_SOME, BESIDE_MANY, GONE_WITHIN, RUDE_MIB = 2000, 1.1, 1.1, 2.0, 75, 1024
QUESTIONS = 16
SQL = "SELECT currency, count(*) AS sales, sum(amount) AS amount FROM transactions GROUP BY currency ORDER BY currency"
# Rows by which an answer is larger than what the system takes for a client that does not read.
LARGE = "SELECT a.transaction_key AS a, repeat(b.transaction_key, 8) AS b FROM transactions a CROSS JOIN transactions b LIMIT 500000"
MIB = 1 << 20
NOW = LAST.isoformat()


def percentile(taken, part):
    ordered = sorted(taken)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


class Memory:
    """Resident memory of a process in MiB, looked at ten times a second until the end."""

    def __init__(self, pid):
        self.pid, self.seen, self.stop = pid, [], threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.stop.wait(0.1):
            with contextlib.suppress(OSError):
                pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
                self.seen.append(pages * os.sysconf("SC_PAGE_SIZE") / MIB)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    @property
    def peak(self):
        return max(self.seen, default=float("nan"))

    @property
    def growth(self):
        """The peak of the last quarter, of that of the second."""
        quarter = max(1, len(self.seen) // 4)
        return max(self.seen[-quarter:]) / max(self.seen[quarter : 2 * quarter] or self.seen)


class Served:
    """A server over a project, on ports that are free."""

    def __init__(self, binary, project):
        self.binary, self.project = binary, project

    def __enter__(self):
        command = [self.binary, "--project", self.project, "serve", "--format", "json"]
        command += [word for name in ("listen", "postgres", "flight") for word in (f"--{name}", "127.0.0.1:0")]
        log = pathlib.Path(self.project).parent / "serve.txt"
        with log.open("wb") as errors:
            self.process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise Stop(f"the server did not start:\n{log.read_text(errors='replace')[-4000:]}")
        told = json.loads(line)
        self.http = place(told["url"].removeprefix("http://"))
        self.postgres, self.flight = place(told["postgres"]), place(told["flight"])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.http[0]}:{self.http[1]}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(name + " ")), 0.0)


def place(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


# Clients. Each kind is a process of its own, so that they are not what waits.


def kept_questions():
    return [f"/api/v1/statistics?from=2020-01-{day:02}&to=2030-01-01" for day in range(1, QUESTIONS + 1)]


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n".encode()


def post_sql(sql):
    body = json.dumps({"query": sql}).encode()
    return b"POST /api/v1/sql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def answered(reader):
    """Status of an answer that was read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    elif (at := lower.find(b"\r\ncontent-length: ")) >= 0:
        await reader.readexactly(int(lower[at + 18 : lower.index(b"\r\n", at + 18)]))
    return status


async def http_client(address, number, until, taken, refused, ahead):
    """Asks until a time; with `ahead` requests under way at once."""
    questions = kept_questions()
    reader, writer = await asyncio.open_connection(*address)
    sent, count = [], number
    while time.monotonic() < until or sent:
        while time.monotonic() < until and len(sent) < ahead:
            is_made_anew = ahead == 1 and count % 10 == 0
            writer.write(post_sql(SQL) if is_made_anew else get(questions[count % QUESTIONS]))
            sent.append(time.monotonic())
            count += 1
        if not sent:
            break
        status = await answered(reader)
        taken.append(time.monotonic() - sent.pop(0))
        if status != 200:
            refused.append(str(status))
    writer.close()


def message(kind, body):
    return kind + struct.pack(">I", len(body) + 4) + body


async def sql_connection(address, user="ada"):
    reader, writer = await asyncio.open_connection(*address)
    body = struct.pack(">I", 196608) + b"user\0%b\0database\0tillhouse\0\0" % user.encode()
    writer.write(struct.pack(">I", len(body) + 4) + body)
    error = await until_ready(reader)
    if error:
        raise ConnectionError(error)
    return reader, writer


async def until_ready(reader):
    """The code of the error that came before the server was ready, if one did."""
    error = None
    while True:
        kind, size = struct.unpack(">cI", await reader.readexactly(5))
        body = await reader.readexactly(size - 4)
        if kind == b"E":
            error = next(field[1:].decode() for field in body.split(b"\0") if field[:1] == b"C")
            if b"SFATAL" in body:
                return error
        if kind == b"Z":
            return error


def extended(sql):
    statement = sql.encode()
    return (
        message(b"P", b"\0" + statement + b"\0\0\0")
        + message(b"B", b"\0\0\0\0\0\0\0\0")
        + message(b"D", b"P\0")
        + message(b"E", b"\0\0\0\0\0")
        + message(b"S", b"")
    )


async def sql_session(address, until, taken, refused):
    reader, writer = await sql_connection(address)
    while time.monotonic() < until:
        began = time.monotonic()
        writer.write(extended(SQL))
        error = await until_ready(reader)
        taken.append(time.monotonic() - began)
        if error:
            refused.append(error)
    writer.close()


async def slowly(address, until, taken, refused, rate):
    """Asks so many times a second, whatever the answers take."""

    async def one(number):
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(post_sql(SQL) if number % 10 == 0 else get(kept_questions()[number % QUESTIONS]))
            status = await answered(reader)
            taken.append(time.monotonic() - began)
            writer.close()
            if status != 200:
                refused.append(str(status))
        except (OSError, asyncio.IncompleteReadError) as error:
            refused.append(type(error).__name__)

    tasks, number, began = [], 0, time.monotonic()
    while time.monotonic() < until:
        tasks.append(asyncio.ensure_future(one(number)))
        number += 1
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
    await asyncio.gather(*tasks)


async def clients(wanted):
    address, until = tuple(wanted["address"]), time.monotonic() + wanted["seconds"]
    taken, refused = [], []
    each = range(wanted["clients"])
    match wanted["kind"]:
        case "kept":
            asked = [http_client(address, number, until, taken, refused, AHEAD) for number in each]
        case "http":
            asked = [http_client(address, number, until, taken, refused, 1) for number in each]
        case "sql":
            asked = [sql_session(address, until, taken, refused) for _ in each]
        case "slowly":
            # Who asks beside a sync is not what it is measured against.
            os.nice(10)
            asked = [slowly(address, until, taken, refused, wanted["rate"])]
        case "saturated":
            os.nice(10)
            asked = [saturating(address, until, taken, refused) for _ in each]
    began = time.monotonic()
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(outcome, BaseException):
            refused.append(f"{type(outcome).__name__}: {outcome}")
    print(json.dumps({"seconds": time.monotonic() - began, "taken": taken, "refused": refused}))


async def saturating(address, until, taken, refused):
    """Asks what is made anew each time, without a pause."""
    reader, writer = await asyncio.open_connection(*address)
    while time.monotonic() < until:
        writer.write(post_sql(SQL))
        taken.append(0.0)
        status = await answered(reader)
        if status not in (200, 503):
            refused.append(str(status))
    writer.close()


class Asking:
    """Processes of clients, and what they found."""

    def __init__(self, *groups):
        self.processes = []
        for group in groups:
            command = [sys.executable, "-B", __file__, "--clients", json.dumps(group)]
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True))

    def found(self):
        told = [json.loads(process.communicate(timeout=600)[0]) for process in self.processes]
        taken = [took for one in told for took in one["taken"]]
        refused = [why for one in told for why in one["refused"]]
        return taken, refused, max(one["seconds"] for one in told)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Bench:
    def __init__(self, binary, folder, given):
        self.binary, self.folder, self.given = binary, folder, given
        self.lines, self.goals = [], []

    def line(self, what, answers="", p50="", p99="", errors="", peak=""):
        self.lines.append((what, answers, p50, p99, errors, peak))
        say(" | ".join(str(word) for word in self.lines[-1]))

    def goal(self, what, value, most, unit=""):
        self.goals.append((what, value, most, unit))

    def measured(self, what, found, memory):
        taken, refused, seconds = found
        if refused:
            say(f"{what}: {len(refused)} refused: {sorted(set(refused))[:8]}")
        rate = len(taken) / seconds
        self.line(what, f"{rate:,.0f} a second", ms(percentile(taken, 0.5)), ms(percentile(taken, 0.99)), len(refused), f"{memory.peak:.0f} MiB")
        self.goal(f"{what}: errors", len(refused), 0)
        return rate

    def kept(self, project):
        with Served(self.binary, project) as served:
            group = {"kind": "kept", "address": served.http, "clients": 4, "seconds": min(10, self.given.seconds)}
            with Asking({**group, "clients": 1, "seconds": 1}) as warm:
                warm.found()
            with Memory(served.process.pid) as memory, Asking(group, group) as asking:
                rate = self.measured("kept statistics, 8 connections", asking.found(), memory)
        self.goal("kept statistics: a thousandth of a second each, of what 2,000 a second may take", 1000 / rate, 1000 / KEPT_RATE, " ms")

    def load(self, project):
        seconds = self.given.seconds
        with Served(self.binary, project) as served:
            http = {"kind": "http", "address": served.http, "clients": HTTP_CLIENTS // 2, "seconds": seconds}
            sql = {"kind": "sql", "address": served.postgres, "clients": SQL_SESSIONS, "seconds": seconds}
            with Memory(served.process.pid) as memory, Asking(http, http) as over_http, Asking(sql) as over_sql:
                found_http, found_sql = over_http.found(), over_sql.found()
            self.measured(f"{HTTP_CLIENTS} HTTP clients", found_http, memory)
            self.measured(f"{SQL_SESSIONS} SQL sessions beside them", found_sql, memory)
            self.goal("memory of the last quarter, of that of the second", memory.growth, GROWTH)

    def rude(self, project):
        with Served(self.binary, project) as served:
            before = served.metric("tillhouse_connections")
            with Memory(served.process.pid) as memory:
                for what, seconds in asyncio.run(rudeness(served)):
                    self.line(what, p99=f"gone after {seconds:.1f} s")
                    self.goal(f"{what}: seconds until they are gone", seconds, GONE_WITHIN, " s")
                left = self.settled(served, before)
            self.line("after all of them", f"{left:.0f} connections left", peak=f"{memory.peak:.0f} MiB")
            self.goal("connections that are left", left, before)
            self.goal("memory with all of them", memory.peak, RUDE_MIB, " MiB")

    def settled(self, served, before):
        end = time.monotonic() + 30
        while True:
            # The one that asks is one too.
            left = served.metric("tillhouse_connections")
            taken = served.metric("tillhouse_slots_taken")
            if (left <= before and taken == 0) or time.monotonic() > end:
                return left + taken
            time.sleep(0.5)

    def sync(self, project):
        taken = {"alone": [], "some": [], "many": []}
        for run in range(self.given.runs):
            for kind, times in taken.items():
                copy = self.folder / f"sync-{kind}-{run}"
                shutil.copytree(project, copy)
                with Served(self.binary, copy) as served, contextlib.ExitStack() as stack:
                    if kind == "some":
                        stack.enter_context(Asking({"kind": "slowly", "address": served.http, "clients": 1, "seconds": 600, "rate": 20}))
                    elif kind == "many":
                        stack.enter_context(Asking({"kind": "saturated", "address": served.http, "clients": 16, "seconds": 600}))
                    time.sleep(2)
                    done = measure([self.binary, "--now", NOW, "sync"], copy, environment())
                times.append(done.wall)
                say(f"sync, {kind}: {done.wall:.2f} s")
                shutil.rmtree(copy)
        alone, some, many = (statistics.median(taken[kind]) for kind in ("alone", "some", "many"))
        self.line("a sync alone", p50=f"{alone:.2f} s")
        self.line("a sync beside 20 requests a second", p50=f"{some:.2f} s, {some / alone:.2f} of it")
        self.line("a sync beside a server whose slots are all taken", p50=f"{many:.2f} s, {many / alone:.2f} of it")
        self.goal("a sync beside 20 requests a second, of one alone", some / alone, BESIDE_SOME)
        self.goal("a sync beside a saturated server, of one alone", many / alone, BESIDE_MANY)


def ms(seconds):
    return f"{seconds * 1000:,.1f} ms"


async def gone(streams):
    """Seconds until the server has closed all of these connections."""
    began = time.monotonic()

    async def closed(reader):
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass

    await asyncio.wait_for(asyncio.gather(*[closed(reader) for reader, _ in streams]), 180)
    for _, writer in streams:
        writer.close()
    return time.monotonic() - began


async def is_alive(served):
    """Seconds that a client waits who only asks how the server is."""
    began = time.monotonic()
    reader, writer = await asyncio.wait_for(asyncio.open_connection(*served.http), 30)
    writer.write(get("/healthz"))
    status = await asyncio.wait_for(answered(reader), 30)
    writer.close()
    if status != 200:
        raise Stop(f"/healthz answered {status}")
    return time.monotonic() - began


async def rudeness(served):
    """Kinds of rude clients, and the seconds until each was gone."""
    found = []
    places = {"HTTP": served.http, "PostgreSQL's protocol": served.postgres, "Flight SQL": served.flight}
    for name, address in places.items():
        silent = [await asyncio.open_connection(*address) for _ in range(300)]
        waited = await is_alive(served)
        found.append((f"300 that say nothing, {name} (somebody else waits {ms(waited)})", await gone(silent)))
    thousand = [await asyncio.open_connection(*served.http) for _ in range(1000)]
    for reader, writer in thousand:
        writer.write(get("/healthz"))
    statuses = await asyncio.gather(*[asyncio.wait_for(answered(reader), 60) for reader, _ in thousand])
    if set(statuses) != {200}:
        raise Stop(f"of a thousand connections some were answered {sorted(set(statuses))}")
    found.append(("a thousand that ask once and stay", await gone(thousand)))
    slots = 2
    readers = []
    for _ in range(slots):
        reader, writer = await asyncio.open_connection(*served.http, limit=1 << 12)
        writer.write(post_sql(LARGE))
        readers.append((reader, writer))
    found.append((f"{slots} slow readers, HTTP", await until_free(served)))
    for _, writer in readers:
        writer.transport.abort()
    readers = []
    for _ in range(slots):
        reader, writer = await sql_connection(served.postgres)
        writer.transport.pause_reading()
        writer.write(extended(LARGE))
        readers.append((reader, writer))
    found.append((f"{slots} slow readers, PostgreSQL's protocol", await until_free(served)))
    for _, writer in readers:
        writer.transport.abort()
    for _ in range(100):
        reader, writer = await asyncio.open_connection(*served.http)
        writer.write(post_sql(LARGE))
        await writer.drain()
        writer.transport.abort()
        reader, writer = await sql_connection(served.postgres)
        writer.write(extended(LARGE))
        await writer.drain()
        writer.transport.abort()
    found.append(("200 that ask and vanish, HTTP and PostgreSQL's protocol", await until_free(served)))
    await is_alive(served)
    return found


async def until_free(served):
    """Seconds until nothing is worked on and nothing waits."""
    began = time.monotonic()
    await asyncio.sleep(1)
    while time.monotonic() < began + 180:
        busy = await asyncio.to_thread(lambda: served.metric("tillhouse_slots_taken") + served.metric("tillhouse_queue_length"))
        if not busy:
            break
        await asyncio.sleep(0.2)
    return time.monotonic() - began


HEAD = ["| what | answers | p50 | p99 | errors | peak memory |", "|---|---|---|---|---|---|"]


def write(path, lines):
    """Puts the table into a document, in the place of the one that begins alike."""
    text = pathlib.Path(path).read_text().split("\n")
    if HEAD[0] not in text:
        raise Stop(f"{path} has no table that begins with {HEAD[0]}")
    first = text.index(HEAD[0])
    last = first
    while last < len(text) and text[last].startswith("|"):
        last += 1
    pathlib.Path(path).write_text("\n".join(text[:first] + lines + text[last:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=3, help="syncs of each kind, of which the median counts")
    parser.add_argument("--transactions", type=int, default=20_000)
    parser.add_argument("--only", action="append", choices=["kept", "load", "rude", "sync"])
    parser.add_argument("--write", help="document with the table, which is written where all parts were measured")
    parser.add_argument("--clients", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.clients:
        asyncio.run(clients(given.clients))
        return 0
    parts = given.only or ["kept", "load", "rude", "sync"]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given.binary, pathlib.Path(folder), given)
        try:
            if set(parts) - {"sync"}:
                project = bench.folder / "demo"
                output_of([given.binary, "demo", "--transactions", str(given.transactions), "--dir", project], env=environment())
                for part in ("kept", "load", "rude"):
                    if part in parts:
                        getattr(bench, part)(project)
            if "sync" in parts:
                with Sandbox(given.binary, bench.folder, given.transactions) as sandbox:
                    project = bench.folder / "project"
                    write_sources(given.binary, project, sandbox.places)
                    # One source is there to be asked about; the others come in beside that.
                    output_of([given.binary, "--project", project, "--now", NOW, "sync", "hecone"], env=environment())
                    bench.sync(project)
        except Stop as stop:
            say(f"error: {stop}")
            return 1
    machine()
    rows = HEAD + ["| " + " | ".join(str(word) for word in line) + " |" for line in bench.lines]
    print("\n".join(rows))
    if given.write and len(parts) == 4:
        write(given.write, rows)
    return 0 if verdicts(bench.goals) else 1


if __name__ == "__main__":
    sys.exit(main())

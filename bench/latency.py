"""Measures what a sync that finds nothing new and the statistics of a month take where every request waits for a network.

    latency.py --binary TILLHOUSE [--runs 7] [--trace]

The four sources are the sandbox, whose every answer comes 80 ms late; the warehouse is in a bucket of SeaweedFS behind a relay that hands each request on 30 ms late. Both are
on loopback, so nothing else waits. A month of 3,000 sales is loaded without delay; two days later, when most of what was under way is over, each command is measured from its
start to its exit, the clock a quarter of an hour on each time, and the median of the runs counts. A sync that found something after all (a trouble that was resolved, a sale that
came late) is told apart, by what it says itself. Rates are not limited: what a provider allows is beside the question.

Beside the time stands what of it is the network's: the longest chain of requests of which each began after the one before was answered. It does not depend on how busy the
machine is. `--trace` prints every request of the last runs with its place in time.

Run by the Python of the tests (`tests/python/requirements.txt`), which has SeaweedFS.
"""

import argparse
import asyncio
import dataclasses
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone

from bench import HERE, Stop, environment, measure, output_of, say

SOURCES = ["bemo", "hecone", "pace", "smartnow"]
FIRST, LAST = datetime(2024, 1, 1, tzinfo=timezone.utc), datetime(2024, 2, 1, tzinfo=timezone.utc)
QUARTER = timedelta(minutes=15)
# Sales are paid, and machines go, within two days of the month's end.
SETTLED = timedelta(hours=50)
# Most syncs for each that is to find nothing new.
TRIES = 4
TRANSACTIONS = 3000
API_SECONDS = 0.080
STORE_SECONDS = 0.030
# The goals, in seconds.
SYNC, STATS = 5.0, 1.0
FOREVER = 1_000_000_000


@dataclasses.dataclass
class Request:
    """One request on its way: when it was sent and answered, by the machine's clock, and what it waited for the network."""

    name: str
    began: float
    ended: float
    waits: float


class Relay:
    """Hands what a client sends on to a server, each request so much later. HTTP/1.1 without pipelining: what comes after an answer is a request."""

    def __init__(self, endpoint):
        host, port = endpoint.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.delay = 0.0
        self.requests = []
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.connection, "127.0.0.1", 0), self.loop).result(10)
        self.endpoint = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def connection(self, reader, writer):
        try:
            from_server, to_server = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        under_way = []

        async def requests():
            is_answered = True
            while data := await reader.read(1 << 16):
                # What is left of a request comes before its answer.
                is_answered = is_answered or bool(under_way and under_way[-1].ended)
                if is_answered:
                    line = data.split(b"\r\n", 1)[0].decode(errors="replace").rsplit(" ", 1)[0]
                    request = Request(line, time.time(), 0.0, self.delay)
                    under_way.append(request)
                    self.requests.append(request)
                    await asyncio.sleep(self.delay)
                    is_answered = False
                to_server.write(data)
                await to_server.drain()

        async def answers():
            while data := await from_server.read(1 << 16):
                if under_way:
                    under_way[-1].ended = time.time()
                writer.write(data)
                await writer.drain()

        pumps = [asyncio.ensure_future(requests()), asyncio.ensure_future(answers())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            to_server.close()
            writer.close()


class Store:
    """SeaweedFS, as the tests start it; it ends with its standard input."""

    def __enter__(self):
        script = HERE.parent / "tests/python/object_stores.py"
        self.process = subprocess.Popen([sys.executable, "-B", script, "seaweedfs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise Stop("SeaweedFS did not start; its reason stands above")
        self.endpoint = json.loads(line)["endpoint"]
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)


class Sandbox:
    """The four emulated APIs with a month of sales, whose clock stands at its end."""

    def __init__(self, binary, folder, transactions=TRANSACTIONS):
        self.binary, self.folder, self.transactions = binary, folder, transactions

    def __enter__(self):
        window = ["--from", FIRST.isoformat(), "--to", LAST.isoformat()]
        command = [self.binary, "sandbox", "--format", "json", "--port", "0", "--transactions", str(self.transactions), *window]
        log = self.folder / "sandbox.txt"
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        line = self.process.stdout.readline()
        if not line:
            raise Stop(f"the sandbox did not start:\n{log.read_text(errors='replace')[-4000:]}")
        self.places = json.loads(line)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.places['url']}/control/{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def delay(self):
        # A path that every request's contains: logins are late too.
        self.control("POST", "faults", {"faults": [{"kind": "slow", "millis": round(API_SECONDS * 1000), "times": FOREVER, "path": "/"}]})

    def requests(self):
        """What was asked since the last look. An answer is logged when it is ready."""
        logged = self.control("GET", "requests")["requests"]
        self.control("DELETE", "requests")
        ends = [datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", one["time"])).timestamp() for one in logged]
        return [Request(f"{one['method']} {one['path']}", end - API_SECONDS, end, API_SECONDS) for one, end in zip(logged, ends)]


def write_sources(binary, folder, places):
    """A project that reads the sandbox, with its warehouse beside it."""
    sources = [word for name in SOURCES for word in ("--source", name)]
    output_of([binary, "init", folder, *sources], env=environment())
    for name in SOURCES:
        path = folder / f"pipelines/{name}/pipeline.yaml"
        path.write_text(re.sub(r"rate_limit: \d+/s", "rate_limit: 10000/s", path.read_text()))
    env = folder / ".env"
    env.write_text(
        env.read_text()
        + f"HECONE_URL={places['hecone']}\nHECONE_CLIENT_ID=sandbox\nHECONE_CLIENT_SECRET=sandbox-secret\n"
        + f"SMARTNOW_URL={places['smartnow']}\nSMARTNOW_USERNAME=sandbox\nSMARTNOW_PASSWORD=sandbox-secret\n"
        + f"BEMO_URL={places['bemo']}\nBEMO_ACCESS_TOKEN=sandbox-token\nBEMO_SUBSCRIPTION_KEY=sandbox-key\nBEMO_ACCOUNTS={','.join(places['accounts'])}\n"
        + f"PACE_URL={places['pace']}\nPACE_TOKEN_URL={places['pace']}/auth/token\nPACE_CLIENT_ID=sandbox\nPACE_CLIENT_SECRET=sandbox-secret\n"
        + f"PACE_PARTNERS={','.join(places['partners'])}\n"
    )


def write_project(binary, folder, places, endpoint):
    """The same, with its warehouse in a bucket."""
    write_sources(binary, folder, places)
    config = folder / "tillhouse.yaml"
    options = f"endpoint: \"{endpoint}\", allow_http: \"true\", access_key_id: tillkey, secret_access_key: tillsecret"
    text, count = re.subn(r"(?m)^( *)url: \S+.*$", rf"\1url: s3://tills/warehouse\n\1options: {{ {options} }}", config.read_text(), count=1)
    if count != 1:
        raise Stop(f"tillhouse.yaml has no line for the warehouse's URL:\n{text}")
    config.write_text(text)


def longest_chain(requests):
    """The requests of the longest chain in which each began after the one before was answered, by what they waited for the network."""
    ordered = sorted(requests, key=lambda request: request.began)
    waited, before = [], []
    for at, request in enumerate(ordered):
        earlier = [other for other in range(at) if 0 < ordered[other].ended <= request.began]
        best = max(earlier, key=lambda other: waited[other], default=None)
        waited.append(request.waits + (waited[best] if best is not None else 0.0))
        before.append(best)
    chain = []
    at = max(range(len(ordered)), key=lambda one: waited[one], default=None)
    while at is not None:
        chain.append(ordered[at])
        at = before[at]
    return chain[::-1]


@dataclasses.dataclass
class Measured:
    wall: float
    cpu: float
    api: int
    store: int
    chain_api: int
    chain_store: int
    news: int

    @property
    def network(self):
        return self.chain_api * API_SECONDS + self.chain_store * STORE_SECONDS


class Bench:
    def __init__(self, binary, folder, sandbox, relay, trace):
        self.binary, self.folder, self.sandbox, self.relay, self.trace = binary, folder, sandbox, relay, trace
        self.now = LAST

    def command(self, *words):
        return [self.binary, "--now", self.now.isoformat(), *words]

    def go_on(self, by=QUARTER):
        self.now += by
        self.sandbox.control("POST", "clock", {"now": self.now.isoformat()})

    def run(self, *words):
        self.sandbox.requests()
        self.relay.requests.clear()
        began = time.time()
        taken = measure(self.command(*words), self.folder, environment())
        api, store = self.sandbox.requests(), list(self.relay.requests)
        chain = longest_chain(api + store)
        if self.trace:
            for request in sorted(api + store, key=lambda request: request.began):
                mark = "*" if request in chain else " "
                say(f"    {mark} {request.began - began:7.3f} {request.ended - request.began:6.3f}  {request.name}")
        in_api = sum(request.waits == API_SECONDS for request in chain)
        said = (self.folder / "log.txt").read_text(errors="replace")
        news = sum(int(number) for number in re.findall(r'"(?:new|changed)": *(\d+)', said))
        return Measured(taken.wall, taken.cpu, len(api), len(store), in_api, len(chain) - in_api, news)


def report(rows):
    print(f"Medians, from start to exit; {round(API_SECONDS * 1000)} ms added to each API request, {round(STORE_SECONDS * 1000)} ms to each request to the store.")
    print("The network's part is the longest chain of requests that waited for one another.")
    print()
    print("| what | seconds, fastest to slowest | of processor | requests: APIs, store | in a row: APIs, store | network's part | goal | |")
    print("|---|---|---|---|---|---|---|---|")
    met = True
    for what, goal, runs in rows:
        of = lambda name: statistics.median(getattr(run, name) for run in runs)
        walls = sorted(run.wall for run in runs)
        holds = goal is None or of("wall") <= goal
        met = met and holds
        print(
            f"| {what} | {of('wall'):.2f}, {walls[0]:.2f} to {walls[-1]:.2f} | {of('cpu'):.2f} s | {of('api'):.0f}, {of('store'):.0f} "
            f"| {of('chain_api'):.0f}, {of('chain_store'):.0f} | {of('network'):.2f} s | {'' if goal is None else f'{goal:g} s'} | {'' if goal is None else 'holds' if holds else 'MISSED'} |"
        )
    return met


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=7, help="runs of each command, of which the median counts (7)")
    parser.add_argument("--trace", action="store_true", help="print every request; those of the longest chain are marked")
    args = parser.parse_args()
    binary = args.binary.resolve()
    with tempfile.TemporaryDirectory(prefix="tillhouse-latency-") as work:
        work = pathlib.Path(work)
        folder = work / "project"
        with Store() as store, Sandbox(binary, work) as sandbox:
            relay = Relay(store.endpoint)
            write_project(binary, folder, sandbox.places, relay.endpoint)
            bench = Bench(binary, folder, sandbox, relay, False)
            first = bench.run("sync", "--yes")
            say(f"a month loaded: {first.wall:.1f} s, {first.api} requests to the APIs, {first.store} to the store")
            bench.go_on(SETTLED)
            bench.run("sync")
            relay.delay = STORE_SECONDS
            sandbox.delay()
            bench.trace = args.trace
            wanted = max(1, args.runs)
            syncs, with_news, stats = [], [], []
            for number in range(TRIES * wanted):
                bench.go_on()
                sync = bench.run("sync", "--format", "json")
                (with_news if sync.news else syncs).append(sync)
                stats.append(bench.run("stats", "--from", FIRST.date().isoformat(), "--to", LAST.date().isoformat()))
                say(f"  {number + 1}: sync {sync.wall:.2f} s with {sync.news} records new or changed, stats {stats[-1].wall:.2f} s")
                if len(syncs) == wanted:
                    break
            if not syncs:
                raise Stop("every sync found something: there is no figure for one that finds nothing new")
            rows = [("a sync of all four that finds nothing new", SYNC, syncs), ("`stats` of a month", STATS, stats)]
            if with_news:
                rows.append((f"a sync that found something ({len(with_news)} of {len(syncs) + len(with_news)})", None, with_news))
            met = report(rows)
    return 0 if met else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Stop as stop:
        say(f"error: {stop}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

"""Measures how much memory queries take, and prints a table for docs/sql.md.

    memory.py --binary TILLHOUSE --project DIR [--limit 64MiB]

DIR is a project with a published run, like `tillhouse demo --transactions 300000 --dir DIR` makes. Each query is a process of its own; its peak is the memory that belongs to it
alone (RssAnon), looked at every five milliseconds, so that the program itself and files that the system keeps do not count. A process that takes more than 4 GiB or 90
seconds is ended, and said to.
"""

import argparse
import subprocess
import sys
import threading
import time

LIMIT_SECONDS = 90
LIMIT_KIB = 4 << 20
TEN = "(VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)) AS v(x)"
PADDED = "SELECT repeat('0123456789', 20) || transaction_key AS pad, transaction_key, amount FROM transactions"


def chain(first, step, count):
    """A WITH of queries that each read the one before."""
    named = [f"c0 AS ({first})"] + [f"c{i + 1} AS ({step.replace('#', str(i))})" for i in range(count)]
    return "WITH " + ", ".join(named)


QUERIES = {
    "count(*)": "SELECT count(*) FROM transactions",
    "everything as CSV": "SELECT * FROM transactions",
    "groups by a text": f"SELECT count(*) FROM (SELECT transaction_key || x, sum(amount) FROM transactions CROSS JOIN {TEN} GROUP BY 1)",
    "count(DISTINCT text) beside others": f"SELECT count(DISTINCT transaction_key || x), count(DISTINCT site_key), sum(amount) FROM transactions CROSS JOIN {TEN}",
    "count(DISTINCT text) and count(*) by site": f"SELECT site_key, count(DISTINCT transaction_key || x), count(*), sum(amount) FROM transactions CROSS JOIN {TEN} GROUP BY 1",
    "count(DISTINCT text) and avg by site": f"SELECT site_key, count(DISTINCT transaction_key || x), avg(amount) FROM transactions CROSS JOIN {TEN} GROUP BY 1",
    "ORDER BY a text": f"{PADDED} ORDER BY pad",
    "ORDER BY a text LIMIT 100000": f"{PADDED} ORDER BY pad LIMIT 100000",
    "ORDER BY a text LIMIT 10": f"{PADDED} ORDER BY pad LIMIT 10",
    "ORDER BY, all columns": "SELECT * FROM transactions ORDER BY md5(transaction_key)",
    "ORDER BY, 4 KB a row": "SELECT repeat(transaction_key, 100) AS pad, * FROM transactions ORDER BY md5(transaction_key)",
    "ORDER BY, 4 KB a row, LIMIT 100000": "SELECT repeat(transaction_key, 100) AS pad FROM transactions ORDER BY pad DESC LIMIT 100000",
    "self join": "SELECT count(*) FROM transactions a JOIN transactions b ON a.transaction_key = b.transaction_key",
    "array_agg": f"SELECT array_length(array_agg(transaction_key)) FROM transactions CROSS JOIN {TEN}",
    "repeat": "SELECT max(length(repeat(transaction_key, 10000000))) FROM transactions",
    "lpad": "SELECT max(length(lpad(transaction_key, 10000000, 'x'))) FROM transactions",
    "generate_series as a list": "SELECT array_length(generate_series(1, 1000000000))",
    "generate_series as a table": "SELECT count(*) FROM generate_series(1, 1000000000)",
    "generate_series of instants as a list": "SELECT array_length(generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '2200-01-01', INTERVAL '1 second'))",
    "generate_series of instants as a table": "SELECT count(*) FROM generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '1973-01-01', INTERVAL '1 second')",
    "unnest": "SELECT count(*) FROM (SELECT unnest(range(0, 10000)) FROM transactions LIMIT 30000000)",
    "concat(a, a), 30 times over": chain("SELECT 'abcdefgh' AS a", "SELECT concat(a, a) AS a FROM c#", 30) + " SELECT length(a) FROM c30",
    "a || a, 30 times over": chain("SELECT 'abcdefgh' AS a", "SELECT a || a AS a FROM c#", 30) + " SELECT length(a) FROM c30",
    "array_concat(a, a), 30 times over": chain("SELECT [1, 2] AS a", "SELECT array_concat(a, a) AS a FROM c#", 30) + " SELECT array_length(a) FROM c30",
    "string_agg by site": f"SELECT site_key, length(string_agg(repeat(transaction_key, 10), ',')) FROM transactions CROSS JOIN {TEN} GROUP BY 1",
    "WITH doubled, 20 times over": chain(
        "SELECT local_hour AS a FROM transactions", "SELECT x.a FROM c# AS x JOIN c# AS y ON x.a = y.a", 20
    )
    + " SELECT count(*) FROM c20",
}


def anonymous_kib(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def measure(binary, project, limit, query):
    """Outcome, seconds and peak in KiB of one query."""
    command = [binary, "sql", "--project", project, "--memory-limit", limit, "--format", "csv", query]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak, ended = [0], [None]

    def watch():
        while process.poll() is None:
            peak[0] = max(peak[0], anonymous_kib(process.pid))
            if peak[0] > LIMIT_KIB or time.monotonic() - begun > LIMIT_SECONDS:
                ended[0] = "ended by the benchmark"
                process.kill()
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    error = process.stderr.read()
    process.wait()
    watcher.join()
    said = error.splitlines()[0].removeprefix("error: ").split(":")[0] if error else ""
    outcome = ended[0] or ("done" if process.returncode == 0 else f"{said} (exit code {process.returncode})")
    return outcome, time.monotonic() - begun, peak[0]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--project", required=True)
    arguments.add_argument("--limit", default="64MiB")
    given = arguments.parse_args()
    if sys.platform != "linux":
        sys.exit("memory.py reads /proc and runs on Linux alone")
    print(f"| query, with `--memory-limit {given.limit}` | outcome | seconds | peak, MiB |")
    print("|---|---|---|---|")
    for name, query in QUERIES.items():
        outcome, seconds, peak = measure(given.binary, given.project, given.limit, query)
        print(f"| {name} | {outcome} | {seconds:.1f} | {peak >> 10} |", flush=True)


if __name__ == "__main__":
    main()

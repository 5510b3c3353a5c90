"""Measures how much memory queries take: each built-in aggregate over a million groups and over one, with DISTINCT and with ORDER BY, beside others; sorts, joins of every
kind, windows, recursive queries, and functions that make large values.

    memory.py --binary TILLHOUSE --project DIR [--limit 64MiB] [--part NAME] [--only WORDS] [--list] [--write docs/memory.md]

DIR is a project with a published run, like `tillhouse demo --transactions 300000 --dir DIR` makes. Each query is a process of its own; its peak is the memory that belongs to it
alone (RssAnon), looked at every five milliseconds, so that the program itself and files that the system keeps do not count. A process that takes more than 4 GiB or 90
seconds is ended, and said to.

What holds of every case: there is an answer or an error that says what was missing, and the peak is at most the limit and 150 MiB. A case that breaks it is marked, and the exit
code is 1. With --write the table is kept in a file, from which docs/sql.md quotes; of some cases alone, their lines in it are replaced.
"""

import argparse
import subprocess
import sys
import threading
import time

LIMIT_SECONDS = 90
LIMIT_KIB = 4 << 20
# What the process may take beyond the limit of a query.
ABOVE_LIMIT_MIB = 150
HEADING = """# Memory of queries

Table of {cases} queries over 300,000 transactions, most of them over ten times as many rows, with `--memory-limit {limit}`; `make bench-memory` writes it. The peak is what belongs to the process alone, without
the program; {allowed} MiB are allowed. "done" has been answered, spilled to disk where that was needed; anything else is the error's first line.

"""
TEN = "(VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)) AS v(x)"
PADDED = "SELECT repeat('0123456789', 20) || transaction_key AS pad, transaction_key, amount FROM transactions"


def chain(first, step, count):
    """A WITH of queries that each read the one before."""
    named = [f"c0 AS ({first})"] + [f"c{i + 1} AS ({step.replace('#', str(i))})" for i in range(count)]
    return "WITH " + ", ".join(named)


OTHERS = {
    "count(*)": "SELECT count(*) FROM transactions",
    "everything as CSV": "SELECT * FROM transactions",
    "everything as JSON": "SELECT * FROM transactions",
    "wide values as CSV": "SELECT repeat(transaction_key, 1400) FROM transactions LIMIT 20000",
    "wide values as JSON": "SELECT repeat(transaction_key, 1400) FROM transactions LIMIT 20000",
    "wide values as a table": "SELECT repeat(transaction_key, 1400) FROM transactions LIMIT 20000",
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


# 1.2 million groups of one row, and one group of as many rows.
GROUPED = "FROM (SELECT transaction_key || y AS k, transaction_key AS t, amount AS a, local_hour AS n, occurred_at AS o FROM transactions CROSS JOIN (VALUES (1), (2), (3), (4)) AS w(y))"
# Each aggregate: its call over `#`, what it is of, and whether DISTINCT and ORDER BY make sense.
AGGREGATES = {
    "count": ("count(#)", "t", True, False),
    "sum": ("sum(#)", "a", True, False),
    "avg": ("avg(#)", "a", True, False),
    "min of texts": ("min(#)", "t", False, False),
    "max of decimals": ("max(#)", "a", False, False),
    "any_value": ("any_value(#)", "t", False, False),
    "arg_max": ("arg_max(#, a)", "t", False, False),
    "arg_min": ("arg_min(#, o)", "t", False, False),
    "mode of texts": ("mode(#)", "t", False, False),
    "mode of numbers": ("mode(#)", "n", False, False),
    "count_if": ("count_if(#)", "a > 1", False, False),
    "median": ("median(#)", "a", True, False),
    "percentile_cont": ("percentile_cont(#, 0.9)", "a", True, False),
    "percentile_disc": ("percentile_disc(0.9) WITHIN GROUP (ORDER BY #)", "a", False, False),
    "quantile_disc of texts": ("quantile_disc(#, 0.9)", "t", False, False),
    "approx_median": ("approx_median(#)", "CAST(n AS DOUBLE)", False, False),
    "approx_percentile_cont": ("approx_percentile_cont(#, 0.9)", "CAST(n AS DOUBLE)", False, False),
    "approx_percentile_cont_with_weight": ("approx_percentile_cont_with_weight(#, CAST(a AS DOUBLE), 0.9)", "CAST(n AS DOUBLE)", False, False),
    "approx_distinct": ("approx_distinct(#)", "t", False, False),
    "bit_and": ("bit_and(#)", "n", False, False),
    "bit_or": ("bit_or(#)", "n", False, False),
    "bit_xor": ("bit_xor(#)", "n", False, False),
    "bool_and": ("bool_and(#)", "a > 1", False, False),
    "bool_or": ("bool_or(#)", "a > 1", False, False),
    "every": ("every(#)", "a > 1", False, False),
    "first_value": ("first_value(#{})", "t", False, True),
    "last_value": ("last_value(#{})", "t", False, True),
    "nth_value": ("nth_value(#, 2{})", "t", False, True),
    "array_agg": ("array_agg(#{})", "t", True, True),
    "string_agg": ("string_agg(#, ','{})", "t", True, True),
}
# Of floats.
AGGREGATES |= {name: (f"{name}(#)", "CAST(a AS DOUBLE)", False, False) for name in ("stddev", "stddev_pop", "var", "var_pop")}
AGGREGATES |= {
    name: (f"{name}(#, CAST(n AS DOUBLE))", "CAST(a AS DOUBLE)", False, False)
    for name in ("corr", "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy")
}


def whole(call):
    """A value that is printed in a few bytes, however large the aggregate's is."""
    if call.startswith("string_agg"):
        return f"length({call})"
    if call.startswith("array_agg"):
        return f"array_length({call})"
    return call


def aggregates():
    """The cases of each aggregate."""
    cases = {}
    for name, (call, of, has_distinct, has_order) in AGGREGATES.items():
        forms = {"": (of, "")}
        if has_distinct:
            forms[" DISTINCT"] = (f"DISTINCT {of}", "")
        if has_order:
            forms[" ORDER BY"] = (of, " ORDER BY o")
        for form, (value, order) in forms.items():
            made = whole(call.replace("#", value).replace("{}", order))
            beside = f"{made} AS x, count(*) AS c, sum(a) AS s, count(DISTINCT n) AS d"
            cases[f"{name}{form}, one group"] = f"SELECT {made} AS x {GROUPED}"
            cases[f"{name}{form}, one group, beside others"] = f"SELECT {beside} {GROUPED}"
            cases[f"{name}{form}, 1.2 million groups"] = f"SELECT count(*), count(x) FROM (SELECT k, {made} AS x {GROUPED} GROUP BY k)"
            cases[f"{name}{form}, 1.2 million groups, beside others"] = f"SELECT count(*), sum(c) FROM (SELECT k, {beside} {GROUPED} GROUP BY k)"
            cases[f"{name}{form}, by hour"] = f"SELECT n, {made} AS x {GROUPED} GROUP BY n"
    return cases


ROWS = f"SELECT transaction_key || x AS k, transaction_key AS t, amount AS a, occurred_at AS o, local_hour AS n FROM transactions CROSS JOIN {TEN}"
JOINED = "SELECT count(*) FROM transactions a {} JOIN transactions b ON {}"


def joins():
    """Joins of every kind, by one key, by a text made for the purpose, and by no equality."""
    cases = {}
    for kind in ("INNER", "LEFT", "RIGHT", "FULL", "LEFT SEMI", "LEFT ANTI", "RIGHT SEMI", "RIGHT ANTI"):
        cases[f"{kind} JOIN by key"] = JOINED.format(kind, "a.transaction_key = b.transaction_key")
        cases[f"{kind} JOIN, long keys"] = JOINED.format(kind, "repeat(a.transaction_key, 10) = repeat(b.transaction_key, 10)")
    cases["JOIN by no equality"] = "SELECT count(*) FROM transactions a JOIN (SELECT * FROM transactions LIMIT 200) b ON a.amount < b.amount"
    cases["LEFT JOIN by no equality"] = "SELECT count(*) FROM (SELECT * FROM transactions LIMIT 3000) a LEFT JOIN transactions b ON a.amount + 1000000 < b.amount"
    cases["CROSS JOIN of 3,000,000,000 rows"] = "SELECT count(*) FROM transactions a CROSS JOIN (SELECT * FROM transactions LIMIT 10000) b"
    cases["IN (SELECT ...)"] = f"SELECT count(*) FROM transactions WHERE transaction_key || '1' IN (SELECT k FROM ({ROWS}))"
    cases["NOT IN (SELECT ...)"] = f"SELECT count(*) FROM transactions WHERE transaction_key || '1' NOT IN (SELECT k FROM ({ROWS}))"
    cases["EXISTS"] = "SELECT count(*) FROM transactions a WHERE EXISTS (SELECT 1 FROM payments p WHERE p.transaction_key = a.transaction_key)"
    cases["UNION of 6 million"] = f"SELECT count(*) FROM (SELECT k FROM ({ROWS}) UNION SELECT k FROM ({ROWS}))"
    cases["EXCEPT of 3 million"] = f"SELECT count(*) FROM (SELECT k FROM ({ROWS}) EXCEPT SELECT k || '' FROM ({ROWS}))"
    cases["DISTINCT of 3 million"] = f"SELECT count(*) FROM (SELECT DISTINCT k, a FROM ({ROWS}))"
    cases["DISTINCT ON"] = f"SELECT count(*) FROM (SELECT DISTINCT ON (t) t, k FROM ({ROWS}) ORDER BY t, k)"
    return cases


def windows():
    """Window functions over one partition and over many."""
    calls = {
        "row_number()": "row_number() OVER ({}ORDER BY k)",
        "rank()": "rank() OVER ({}ORDER BY a)",
        "ntile(4)": "ntile(4) OVER ({}ORDER BY k)",
        "percent_rank()": "percent_rank() OVER ({}ORDER BY a)",
        "lag, lead": "lag(k) OVER ({0}ORDER BY o, k) || lead(k) OVER ({0}ORDER BY o, k)",
        "sum without ORDER BY": "sum(a) OVER ({})",
        "sum ORDER BY": "sum(a) OVER ({}ORDER BY k)",
        "avg of 100 rows": "avg(a) OVER ({}ORDER BY k ROWS BETWEEN 99 PRECEDING AND CURRENT ROW)",
        "first_value, last_value": "first_value(k) OVER ({0}ORDER BY k) || last_value(k) OVER ({0}ORDER BY k)",
        "count of what follows": "count(*) OVER ({}ORDER BY k ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
        "median of 100 rows": "median(a) OVER ({}ORDER BY k ROWS BETWEEN 99 PRECEDING AND CURRENT ROW)",
    }
    cases = {}
    for name, call in calls.items():
        for place, partition in (("3 million rows", ""), ("by site", "PARTITION BY site_key "), ("300,000 partitions", "PARTITION BY t ")):
            rows = ROWS.replace("SELECT ", "SELECT site_key, ", 1)
            cases[f"{name} OVER, {place}"] = f"SELECT count(x) FROM (SELECT {call.format(partition)} AS x FROM ({rows}))"
    return cases


def recursive():
    """Recursive queries: deep, wide, and without an end."""
    count = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {}) SELECT sum(x) FROM n"
    return {
        "recursive, 10,000 steps": count.format(10_000),
        "recursive, doubled 20 times": "WITH RECURSIVE n(x, d) AS (SELECT 1, 0 UNION ALL SELECT x, d + 1 FROM n CROSS JOIN (VALUES (1), (2)) AS v(y) WHERE d < 20) SELECT count(*) FROM n",
        "recursive, UNION of 10,000": "WITH RECURSIVE n(x) AS (SELECT 1 UNION SELECT (x * 7 + 1) % 10007 FROM n) SELECT count(*) FROM n",
        "recursive, texts that double": "WITH RECURSIVE n(x) AS (SELECT 'abcdefgh' UNION ALL SELECT x || x FROM n WHERE length(x) < 2000000000) SELECT max(length(x)) FROM n",
        "recursive over the table": "WITH RECURSIVE n(k, d) AS (SELECT transaction_key, 0 FROM transactions UNION ALL SELECT k || 'x', d + 1 FROM n WHERE d < 5) SELECT count(*), max(length(k)) FROM n",
    }


def lists():
    """What is gathered by group."""
    return {
        "string_agg ORDER BY, 3 million": f"SELECT length(string_agg(k, ',' ORDER BY k)) FROM ({ROWS})",
        "string_agg ORDER BY by hour, 3 million": f"SELECT n, length(string_agg(k, ',' ORDER BY o)) FROM ({ROWS}) GROUP BY n",
        "string_agg by transaction": f"SELECT sum(length(s)) FROM (SELECT t, string_agg(k, ',' ORDER BY k) AS s FROM ({ROWS}) GROUP BY t)",
        "array_agg ORDER BY by hour": f"SELECT n, array_length(array_agg(k ORDER BY o)) FROM ({ROWS}) GROUP BY n",
        "array_agg by transaction": f"SELECT count(s) FROM (SELECT t, array_agg(k) AS s FROM ({ROWS}) GROUP BY t)",
        "two DISTINCT of 3 million": f"SELECT count(DISTINCT k), count(DISTINCT t) FROM ({ROWS})",
        "two DISTINCT by hour": f"SELECT n, count(DISTINCT k), count(DISTINCT t), sum(a) FROM ({ROWS}) GROUP BY n",
        "two DISTINCT and sum(DISTINCT)": f"SELECT count(DISTINCT k), count(DISTINCT t), sum(DISTINCT a) FROM ({ROWS})",
        "ROLLUP of two texts": f"SELECT count(*) FROM (SELECT t, k, sum(a) FROM ({ROWS}) GROUP BY ROLLUP (t, k))",
        "grouping of a CUBE": f"SELECT g, count(*), sum(s) FROM (SELECT grouping(t) + grouping(n) AS g, sum(a) AS s FROM ({ROWS}) GROUP BY CUBE (t, n)) GROUP BY g",
        "count(DISTINCT) FILTER": f"SELECT count(DISTINCT k) FILTER (WHERE a > 1), count(DISTINCT k) FROM ({ROWS})",
    }


def values():
    """Functions and windows that make large values of small ones, by row and of constants."""
    wide = "(SELECT repeat(transaction_key, 20) AS w, transaction_key AS t, amount AS a, local_hour AS n FROM transactions)"
    # A value of each row, the largest of which is asked for: everything has to be made.
    texts = {
        "concat": "concat(w, w, w, w, w)",
        "concat_ws": "concat_ws(w, t, t, t, t, t)",
        "concat_ws of many": "concat_ws(repeat(t, 1000), t, t, t, t, t, t)",
        "a || b": "w || w || w || w || w",
        "repeat of a column": "repeat(w, 1000)",
        "rpad": "rpad(t, 1000000, w)",
        "replace": "replace(w, '1', w)",
        "regexp_replace": "regexp_replace(w, '[0-9]', w, 'g')",
        "translate": "translate(w, 'abc', 'äöü')",
        "overlay": "overlay(w PLACING repeat(t, 1000) FROM 2)",
        "to_char": "to_char(a, repeat('9', 200) || '.00')",
        "array_to_string": "array_to_string(array_repeat(w, 100), w)",
        "array_to_string of nulls": "array_to_string(array_repeat(CAST(NULL AS VARCHAR), 1000), ',', w)",
        "json_get": """json_get('{"a": "' || w || '"}', 'a')""",
        "json of a text": """json('["' || w || '"]')""",
        "CAST of a list": "CAST(array_repeat(w, 100) AS VARCHAR)",
        "encode": "encode(CAST(w AS BYTEA), 'hex')",
    }
    made = {
        "array_repeat": "array_repeat(w, 1000)",
        "array_repeat of lists": "array_repeat(array_repeat(w, 100), 100)",
        "array_resize": "array_resize([w], 10000, w)",
        "array_concat": "array_concat(array_repeat(w, 100), array_repeat(w, 100))",
        "array_append": "array_append(array_repeat(w, 100), w)",
        "array_union": "array_union(array_repeat(w, 100), [t])",
        "array_replace_all": "array_replace_all(array_repeat('x', 1000), 'x', w)",
        "array_sort": "array_sort(array_repeat(w, 100))",
        "make_array": "[w, w, w, w, w, w, w, w, w, w]",
        "range": "range(0, 100000 + n)",
        "generate_series of days": "generate_series(DATE '1900-01-01', DATE '2200-01-01', INTERVAL '1 day' * (n % 2 + 1))",
        "list_transform": "list_transform(range(0, 1000), i -> w || CAST(i AS VARCHAR))",
        "list_transform of lists": "list_transform(range(0, 1000), i -> array_repeat(w, 10))",
        "list_filter": "list_filter(array_repeat(w, 1000), i -> length(i) > 1)",
        "string_to_array": "string_to_array(w, NULL)",
        "map_keys": "map_keys(MAP {w: 1, t: 2})",
        "map_values": "map_values(MAP {t: array_repeat(w, 100)})",
        "json_get_array": "json_get_array('[' || repeat('1,', 10000) || '1]')",
        "json_object_keys": """json_object_keys('{' || repeat('"' || t || '":1,', 1000) || '"a":1}')""",
    }
    cases = {f"{name}, by row": f"SELECT max(length({call})) FROM {wide}" for name, call in texts.items()}
    cases |= {f"{name}, by row": f"SELECT max(array_length({call})) FROM {wide}" for name, call in made.items()}
    cases["JSON of 100 MB"] = "SELECT json_length('[' || repeat('1,', 50000000) || '1]')"
    cases["JSON of 20 MB in a row each"] = "SELECT max(json_length('[' || repeat('1,', 10000000 + local_hour) || '1]')) FROM transactions"
    cases["unnest of a million beside columns"] = "SELECT count(*), max(t), max(w) FROM (SELECT unnest(range(0, 1000000 + local_hour)) AS x, repeat(transaction_key, 20) AS w, transaction_key AS t FROM transactions LIMIT 3000000)"
    cases["unnest of unnest"] = "SELECT count(*) FROM (SELECT unnest(unnest(array_repeat(range(0, 1000), 100))) AS x, transaction_key FROM transactions LIMIT 30000000)"
    whole = {
        "array_agg OVER ORDER BY": "array_length(array_agg({}) OVER (ORDER BY o))",
        "array_agg OVER ()": "array_length(array_agg({}) OVER ())",
        "array_agg OVER, what follows": "array_length(array_agg({}) OVER (ORDER BY o ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING))",
        "array_agg OVER 10,000 rows": "array_length(array_agg({}) OVER (ORDER BY o ROWS BETWEEN 9999 PRECEDING AND CURRENT ROW))",
        "array_agg OVER 10 rows": "array_length(array_agg({}) OVER (ORDER BY o ROWS BETWEEN 9 PRECEDING AND CURRENT ROW))",
        "array_agg OVER hours": "array_length(array_agg({}) OVER (PARTITION BY n))",
        "array_agg OVER transactions": "array_length(array_agg({}) OVER (PARTITION BY t ORDER BY k))",
        "string_agg OVER ORDER BY": "length(string_agg({}, ',') OVER (ORDER BY o))",
        "string_agg OVER ()": "length(string_agg({}, ',') OVER ())",
        "string_agg OVER hours": "length(string_agg({}, ',') OVER (PARTITION BY n))",
        "string_agg OVER transactions": "length(string_agg({}, ',') OVER (PARTITION BY t ORDER BY k))",
        "first_value of lists OVER": "array_length(first_value([{0}, {0}, {0}]) OVER (PARTITION BY n ORDER BY o))",
    }
    for name, call in whole.items():
        cases[name] = f"SELECT count(x), max(x) FROM (SELECT {call.format('k')} AS x FROM ({ROWS}))"
    return cases


PARTS = {
    "others": lambda: OTHERS,
    "lists": lists,
    "values": values,
    "joins": joins,
    "windows": windows,
    "recursive": recursive,
    "aggregates": aggregates,
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


def measure(binary, project, limit, query, output="csv"):
    """Outcome, seconds and peak in KiB of one query."""
    command = [binary, "sql", "--project", project, "--memory-limit", limit, "--format", output, query]
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


def merged(path, lines):
    """The lines of a kept table, those that were measured now in place of what they were."""
    name = lambda line: line.split(" | ")[0]
    measured = {name(line): line for line in lines}
    with open(path, encoding="utf-8") as file:
        kept = [line for line in file.read().splitlines() if line.startswith("| ") and not line.startswith("| query,")]
    return [measured.pop(name(line), line) for line in kept] + list(measured.values())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--project", required=True)
    arguments.add_argument("--limit", default="64MiB")
    arguments.add_argument("--only", default="", help="only cases whose name contains this, or one of several: \"json|OVER\"")
    arguments.add_argument("--part", choices=PARTS, action="append", help="only cases of this part; may be given several times")
    arguments.add_argument("--list", action="store_true", help="print the cases with their SQL, and ask nothing")
    arguments.add_argument("--write", help="file in which the table is kept")
    given = arguments.parse_args()
    parts = [PARTS[name]() for name in given.part or PARTS]
    words = given.only.split("|")
    cases = {name: query for part in parts for name, query in part.items() if any(word in name for word in words)}
    if given.list:
        for name, query in cases.items():
            print(f"{name}\n    {query}")
        return
    if sys.platform != "linux":
        sys.exit("memory.py reads /proc and runs on Linux alone")
    mib = int(given.limit.removesuffix("MiB")) if given.limit.endswith("MiB") else int(given.limit.removesuffix("GiB")) << 10
    allowed = mib + ABOVE_LIMIT_MIB
    head = [f"| query, with `--memory-limit {given.limit}` | outcome | seconds | peak, MiB |", "|---|---|---|---|"]
    print("\n".join(head))
    lines, broken = [], []
    for name, query in cases.items():
        output = "json" if name.endswith(" as JSON") else "table" if name.endswith(" as a table") and name.startswith("wide") else "csv"
        outcome, seconds, peak = measure(given.binary, given.project, given.limit, query, output)
        is_broken = peak >> 10 > allowed or outcome.startswith("ended by")
        if is_broken:
            broken.append(name)
        mark = " (beyond what is allowed)" if is_broken else ""
        lines.append(f"| {name} | {outcome}{mark} | {seconds:.1f} | {peak >> 10} |".replace("||", "&#124;&#124;"))
        print(lines[-1], flush=True)
    if given.write and len(cases) < sum(len(part()) for part in PARTS.values()):
        lines = merged(given.write, lines)
    if given.write:
        with open(given.write, "w", encoding="utf-8") as file:
            file.write(HEADING.format(limit=given.limit, allowed=allowed, cases=len(lines)) + "\n".join(head + lines) + "\n")
    print(f"{len(cases)} cases, {len(broken)} of them beyond {allowed} MiB or {LIMIT_SECONDS} seconds", *broken, sep="\n  ")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

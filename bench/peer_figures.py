"""The statistics by DuckDB over the data files of a warehouse: a query a figure, then three wide ones. A peer of `bench/scale.py`.

    peer_figures.py ASKED.json

ASKED.json names the files of each table, the window and the one before it, a condition on transactions or none, the memory, and how often each query is run; the first run is not
timed. Prints one line of JSON: the seconds of every query, and what can be compared with another program's answer.
"""

import json
import pathlib
import sys
import time

import duckdb

COUNTED = "perspective = 'sale' AND kind IN ('sale', 'refund') AND {state} IN ('completed', 'consumed')"
LABELS = ["type", "medium", "scheme", "entry_mode", "function"]
HOUR = "epoch_us(occurred_at) // 3600000000"
CURRENCY = "coalesce(currency, 'unknown')"


def between(first, last):
    """Rows of a window; naming its months spares files, as it does in Tillhouse."""
    return f"occurred_at >= TIMESTAMPTZ '{first}' AND occurred_at < TIMESTAMPTZ '{last}' AND month >= '{first[:7]}' AND month <= '{last[:7]}'"


class Queries:
    """The queries of a window, and of what passes a condition."""

    def __init__(self, asked):
        self.now, self.both = between(asked["from"], asked["to"]), between(asked["before"], asked["to"])
        self.since = f"occurred_at >= TIMESTAMPTZ '{asked['from']}'"
        passing = asked.get("condition")
        self.own = f" AND {passing}" if passing else ""
        keys = f"SELECT transaction_key FROM transactions WHERE {passing} AND {self.now}"
        self.children = f" AND transaction_key IN ({keys})" if passing else ""

    def sales(self, window):
        return f"FROM transactions WHERE {COUNTED.format(state='state')} AND {window}{self.own}"

    def payments(self):
        return f"FROM payments WHERE {COUNTED.format(state='transaction_state')} AND state = 'collected' AND {self.now}{self.children}"

    def articles(self):
        sold = "(state IS NULL OR state NOT IN ('declined', 'error'))"
        rows = f"SELECT * FROM articles WHERE {COUNTED.format(state='transaction_state')} AND {sold} AND {self.now}{self.children}"
        return f"FROM ({rows}) AS a LEFT JOIN products AS p ON a.product_key = p.product_key"

    def figures(self):
        """A query a figure: eleven."""
        sites = f"SELECT {CURRENCY} AS c, site_key, {{}} AS total {self.sales(self.now)} GROUP BY ALL"
        named = f"SELECT c, coalesce(name, 'unknown') AS site, total FROM ({sites}) LEFT JOIN sites USING (site_key) ORDER BY c, total DESC, site"
        growth = f"SELECT {CURRENCY} AS c, {{0}} FILTER (WHERE {self.since}), {{0}} FILTER (WHERE NOT {self.since}) {self.sales(self.both)} GROUP BY c"
        figures = {
            "hourly_transactions": f"SELECT {CURRENCY} AS c, {HOUR} AS hour, count(*) {self.sales(self.now)} GROUP BY ALL ORDER BY c, hour",
            "transactions_count": growth.format("count(*)"),
            "transactions_total_amount": growth.format("sum(amount)"),
            "sites_amount_ranking": named.format("sum(amount)"),
            "sites_transactions_ranking": named.format("count(*)"),
            "article_quantities_ranking": f"""
                SELECT {CURRENCY} AS c, coalesce(a.unit_measure, 'unknown') AS unit, coalesce(p.name, a.name, 'unknown') AS article, sum(quantity) AS total
                {self.articles()} GROUP BY ALL ORDER BY c, unit, total DESC, article""",
        }
        for label in LABELS:
            figures[f"payment_{label}_ranking"] = (
                f"SELECT {CURRENCY} AS c, coalesce({label}, 'unknown') AS label, sum(amount) AS total {self.payments()} GROUP BY ALL ORDER BY c, total DESC, label"
            )
        return figures

    def wide(self):
        """A query a table, with all figures of it."""
        sets = ", ".join(f"(c, {label})" for label in LABELS)
        labels = ", ".join(f"coalesce({label}, 'unknown') AS {label}" for label in LABELS)
        return {
            "transactions": f"""
                SELECT c, is_now, hour, site_key, count(*), sum(amount)
                FROM (SELECT {CURRENCY} AS c, {self.since} AS is_now, {HOUR} AS hour, site_key, amount {self.sales(self.both)})
                GROUP BY GROUPING SETS ((c, is_now), (c, is_now, hour), (c, is_now, site_key))""",
            "articles": self.figures()["article_quantities_ranking"],
            "payments": f"""
                SELECT c, {', '.join(LABELS)}, sum(amount)
                FROM (SELECT {CURRENCY} AS c, {labels}, amount {self.payments()}) GROUP BY GROUPING SETS ({sets})""",
        }


def connect(asked, folder):
    connection = duckdb.connect(config={"memory_limit": f"{asked['memory_mib']}MiB", "temp_directory": str(folder / "spilled")})
    # Footers are read once, as a program that keeps the table open would.
    connection.execute("SET enable_object_cache = true")
    connection.execute("SET parquet_metadata_cache = true")
    for name, files in asked["tables"].items():
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}], hive_partitioning = true, hive_types_autocast = false)")
    return connection


def timed(connection, query, runs):
    seconds, rows = [], []
    for run in range(runs + 1):
        begin = time.perf_counter()
        rows = connection.execute(query).fetchall()
        if run > 0:
            seconds.append(time.perf_counter() - begin)
    return seconds, rows


def compared(answers):
    """What can be compared, by currency. One that only the window before has is there with nothing."""
    currencies = {row[0] for rows in answers.values() for row in rows}
    found = {currency: {"transactions": 0, "amount": "0", "paid": []} for currency in currencies}
    for currency, now, _ in answers["transactions_count"]:
        found[currency]["transactions"] = now
    for currency, now, _ in answers["transactions_total_amount"]:
        found[currency]["amount"] = str(now or 0)
    for figure, name in [("hourly_transactions", "hours"), ("sites_amount_ranking", "sites"), ("article_quantities_ranking", "articles")]:
        for currency in found:
            found[currency][name] = sum(row[0] == currency for row in answers[figure])
    for currency, _, total in answers["payment_type_ranking"]:
        found[currency]["paid"].append(str(total))
    return found


def main():
    asked = json.loads(pathlib.Path(sys.argv[1]).read_text())
    connection = connect(asked, pathlib.Path(sys.argv[1]).parent)
    queries = Queries(asked)
    seconds, answers = {}, {}
    for name, query in queries.figures().items():
        seconds[name], answers[name] = timed(connection, query, asked["runs"])
    wide = {name: timed(connection, query, asked["runs"])[0] for name, query in queries.wide().items()}
    print(json.dumps({"figures": seconds, "wide": wide, "compared": compared(answers)}))


if __name__ == "__main__":
    main()

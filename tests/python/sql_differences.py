"""Asks Tillhouse and PostgreSQL the same random statements (see sql_statements.py), and prints every difference, made as small as it gets.

    sql_differences.py --binary TILLHOUSE [--statements N] [--seed SEED] [--only NUMBER] [--all]

Both have the tables of a project that the binary makes (`tillhouse demo`): PostgreSQL, a server of its own on a socket in a temporary
folder, has copies of what the binary prints. It is stopped and all is removed at the end, after Ctrl-C too. initdb, postgres and psql are
wanted on the PATH.

Invariant: a difference that is told is one. Numbers are compared by their value, null is no empty text, rows are in their order where the
statement says one, and a set with repetitions where it does not. PostgreSQL has to give its own answer twice, the second time from tables
turned around and without hashes; a statement that it refuses proves nothing. One that we refuse and PostgreSQL answers is counted by the
kind of its error, and is no difference, for an error misleads nobody. Any other difference makes exit code 1.

The seed, by default the day, and a statement's number make the statement; --only asks one of them, and shows it. A difference is made
smaller by taking away and lowering the numbers that its statement was made of, as long as it stays one. --all (FUZZ_ALL=1) also makes what
is known to differ, see sql_statements.py. Environment: FUZZ_STATEMENTS (2000), FUZZ_SEED, FUZZ_ALL.
"""

import argparse
import collections
import contextlib
import csv
import datetime
import decimal
import io
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import make_sql_answers
from sql_statements import BOOL, DAY, DECIMAL, HOLES, INSTANT, INT, TEXT, TIME, Column, Maker

NULL = make_sql_answers.NULL
TRANSACTIONS = 200
BATCH = 100
# Seconds that a statement may take PostgreSQL, a process of ours and a statement in it, and that a difference is made smaller.
POSTGRES_LIMIT, PROCESS_LIMIT, STATEMENT_LIMIT, SHRINK_LIMIT = 3, 60, 3, 60
# Differences that are made smaller; more are counted.
MOST_SHRUNK = 12
SHOWN_ROWS = 6
# Numbers of a statement; more have no end.
MOST_NUMBERS = 4_000
POSTGRES_TYPES = {TEXT: "text", DECIMAL: "numeric"}
# The first column is the key.
TABLES = {
    name: [(column.split(":")[0], HOLES[column.split(":")[1]]) for column in columns.split()]
    for name, columns in {
        "sites": "site_key:t pipeline:t name:t code:t city:t country_code:t latitude:d brand:t",
        "transactions": "transaction_key:t pipeline:t month:t kind:t state:t category:t occurred_at:z business_date:D local_hour:i "
        "amount:d tax_amount:d currency:t site_key:t device_key:t",
        "articles": "article_key:t pipeline:t month:t transaction_key:t line_number:i product_key:t name:t category:t quantity:d "
        "unit_price:d amount:d currency:t occurred_at:z business_date:D site_key:t",
        "payments": "payment_key:t pipeline:t month:t transaction_key:t type:t medium:t method:t state:t amount:d currency:t excluded:b "
        "occurred_at:z business_date:D local_hour:i site_key:t",
        "devices": "device_key:t pipeline:t site_key:t name:t code:t",
        "products": "product_key:t pipeline:t code:t name:t category:t unit_measure:t",
    }.items()
}
PLANS = "SET search_path = turned; SET enable_hashagg = off; SET enable_hashjoin = off; SET enable_nestloop = off;"


class Stop(Exception):
    """A reason why nothing can be compared."""


class TooLong(Exception):
    """Numbers that make no end of a statement."""


class Choices:
    """The numbers that a statement is made of, drawn by a seed or given, and the parts of it that each stand for something whole."""

    def __init__(self, seed=None, given=None):
        self.random, self.given = random.Random(seed), given
        self.made, self.parts = [], []

    def number(self, below):
        at = len(self.made)
        if at >= MOST_NUMBERS:
            raise TooLong
        if self.given is None:
            made = self.random.randrange(below)
        else:
            made = self.given[at] % below if at < len(self.given) else 0
        self.made.append(made)
        return made

    def one(self, options):
        return options[self.number(len(options))]

    def is_so(self, percent):
        return self.number(100) >= 100 - percent

    def some(self, options, most):
        """Up to `most` of the options, in any order, none twice."""
        left, found = list(options), []
        for _ in range(min(self.number(most + 1), len(left))):
            found.append(left.pop(self.number(len(left))))
        return found

    def shuffled(self, options):
        left = list(options)
        return [left.pop(self.number(len(left))) for _ in range(len(left))]

    @contextlib.contextmanager
    def part(self):
        begin = len(self.made)
        yield
        if len(self.made) > begin:
            self.parts.append((begin, len(self.made)))


def without_hidden(sql):
    """The statement for us, where a query in FROM needs no alias."""
    return re.sub(r" AS hidden_\d+\b", "", sql)


class Tillhouse:
    """Statements to the binary, many to a process, which ends at the first error."""

    def __init__(self, binary, folder):
        self.binary, self.project, self.file = binary, folder / "project", folder / "statements.sql"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        self.settings = {"env": {**kept, "NO_COLOR": "1"}, "stdin": subprocess.DEVNULL}
        done = self.run("demo", "--transactions", str(TRANSACTIONS), "--dir", str(self.project))
        if done.returncode:
            raise Stop(f"tillhouse demo ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")

    def run(self, *arguments, limit=PROCESS_LIMIT):
        return subprocess.run([self.binary, *arguments], capture_output=True, timeout=limit, check=False, **self.settings)

    def sql(self, *arguments, limit=PROCESS_LIMIT):
        return self.run("--project", str(self.project), "sql", *arguments, limit=limit)

    def ask(self, statements):
        """Rows of each, or the text of its error."""
        answers = []
        while len(answers) < len(statements):
            left = statements[len(answers) :]
            self.file.write_text(";\n".join(without_hidden(sql) for sql in left) + ";\n", encoding="utf-8")
            try:
                done = self.sql("--format", "json", "-f", str(self.file), limit=PROCESS_LIMIT + STATEMENT_LIMIT * len(left))
                written, said = done.stdout, done.stderr.decode(errors="replace").strip()
                failure = said if done.returncode > 0 else f"ended by signal {-done.returncode}: {said[-300:]}"
            except subprocess.TimeoutExpired as late:
                written, failure = late.stdout or b"", "no answer in time"
            found = documents(written.decode(errors="replace"))
            answers += found[: len(left)]
            if len(found) < len(left):
                answers.append(failure or "no answer, and no error")
        return answers


def documents(text):
    """The results of a process, each a list of rows."""
    decoder = json.JSONDecoder(
        object_pairs_hook=lambda pairs: tuple(value for _, value in pairs), parse_float=decimal.Decimal, parse_int=decimal.Decimal
    )
    found, at = [], 0
    with contextlib.suppress(json.JSONDecodeError):
        while at < len(text):
            rows, at = decoder.raw_decode(text, at)
            found.append(rows)
            at = re.compile(r"\s*").match(text, at).end()
    return found


class PostgreSql(make_sql_answers.Postgres):
    """Copies of our tables, and statements to them, many to a process."""

    def __init__(self):
        missing = [name for name in ("initdb", "postgres", "psql") if not shutil.which(name)]
        if missing:
            raise Stop(
                f"{', '.join(missing)} of PostgreSQL 15 or newer is not on the PATH: install its server and client (Debian: postgresql; "
                "Fedora: postgresql-server; macOS: brew install postgresql), and put their folder there, such as "
                "PATH=/usr/lib/postgresql/15/bin:$PATH"
            )
        self.refusals = collections.Counter()
        try:
            super().__init__(pathlib.Path(shutil.which("initdb")).resolve().parent)
        except BaseException as failure:
            if hasattr(self, "folder"):
                if (self.folder / "data" / "postmaster.pid").exists():
                    with contextlib.suppress(subprocess.CalledProcessError):
                        self.stop()
                shutil.rmtree(self.folder, ignore_errors=True)
            if isinstance(failure, KeyError):
                raise Stop("PostgreSQL does not run as root, and there is no user `postgres`") from failure
            if isinstance(failure, subprocess.CalledProcessError):
                raise Stop(f"PostgreSQL does not start: {failure}") from failure
            raise
        form = ["-q", "-t", "-P", "format=csv", "-P", f"null={NULL}"]
        self.command = [shutil.which("psql"), "-X", "-h", str(self.folder), "-U", "postgres", *form]

    def psql(self, script):
        return subprocess.run(self.command, input=script, capture_output=True, text=True, check=False, cwd="/")

    def take(self, tillhouse, file):
        """Copies of the tables, once as they come and once turned around, and literals of their columns."""
        script = ["CREATE SCHEMA turned;"]
        for table, columns in TABLES.items():
            names = ", ".join(name for name, _ in columns)
            done = tillhouse.sql("--format", "csv", "--null", NULL, f"SELECT {names} FROM {table} ORDER BY 1")
            if done.returncode:
                raise Stop(f"{table} cannot be read: {done.stderr.decode(errors='replace')}")
            path = file.with_name(f"{table}.csv")
            path.write_bytes(done.stdout)
            made = ", ".join(f"{name} {POSTGRES_TYPES.get(kind, kind)}" for name, kind in columns)
            script.append(f"CREATE TABLE {table} ({made});\n\\copy {table} FROM '{path}' WITH (FORMAT csv, HEADER, NULL '{NULL}')")
            script.append(f"CREATE TABLE turned.{table} AS SELECT * FROM {table} ORDER BY 1 DESC;\nANALYZE;")
        every = [(table, name, kind) for table, columns in TABLES.items() for name, kind in columns]
        for table, name, _ in every:
            script.append(f"\\echo {NULL}{NULL}\nSELECT DISTINCT {name}::text FROM {table} WHERE {name} IS NOT NULL ORDER BY 1;")
        done = self.psql("\n".join(script))
        if done.stderr:
            raise Stop(f"PostgreSQL cannot take the tables: {done.stderr}")
        tables = collections.defaultdict(list)
        for (table, name, kind), text in zip(every, done.stdout.split(f"{NULL}{NULL}\n")[1:], strict=True):
            rows = [row[0] for row in csv.reader(io.StringIO(text)) if row]
            some = [rows[at] for at in sorted({0, len(rows) // 3, len(rows) // 2, len(rows) - 1})] if rows else []
            tables[table].append(Column(name, kind, [literal(text, kind) for text in some]))
        return tables

    def ask(self, statements, before=""):
        """Rows of each; none where PostgreSQL has no answer."""
        script = [f"SET statement_timeout = '{POSTGRES_LIMIT}s'; {before}"]
        script += [f"\\echo {NULL}{NULL}\n{query.sql};\n\\echo {NULL}:ERROR" for query in statements]
        done = self.psql("\n".join(script))
        self.refusals.update(kind_of(line.split("ERROR:", 1)[1]) for line in done.stderr.splitlines() if "ERROR:" in line and not before)
        answers = []
        for query, text in zip(statements, done.stdout.split(f"{NULL}{NULL}\n")[1:], strict=True):
            rows, _, failed = text.rpartition(NULL)
            rows = [row or [""] for row in csv.reader(io.StringIO(rows))]
            answers.append(None if failed.strip() != "false" else [tuple(map(theirs, row, query.types())) for row in rows])
        return answers


def literal(text, kind):
    if kind in (INT, DECIMAL):
        return text
    if kind == BOOL:
        return "true" if text[0] == "t" else "false"
    quoted = "'" + text.replace("'", "''") + "'"
    return f"{kind} {quoted}" if kind in (DAY, INSTANT) else quoted


def theirs(text, kind):
    """PostgreSQL's value in the form of JSON's."""
    if text == NULL:
        return None
    if kind in (INT, DECIMAL):
        return decimal.Decimal(text)
    if kind == BOOL:
        return text == "t"
    return text.removesuffix("+00").replace(" ", "T") if kind in (TIME, INSTANT) else text


def ours(value, kind):
    if kind in (TIME, INSTANT) and isinstance(value, str):
        value = value.removesuffix("Z")
        return value.rstrip("0").rstrip(".") if "." in value else value
    return value


def difference(query, mine, other):
    """`rows` or `order`, by what differs; none where nothing does."""
    mine = [tuple(map(ours, row, query.types())) for row in mine]
    if collections.Counter(map(typed, mine)) != collections.Counter(map(typed, other)):
        return "rows"
    if query.is_total:
        return None if mine == other else "order"
    keys = [[tuple(row[at] for at in query.order) for row in rows] for rows in (mine, other)]
    return None if keys[0] == keys[1] else "order"


def typed(row):
    """True is no number 1."""
    return tuple((isinstance(value, bool), value) for value in row)


def kind_of(text):
    """The first words of an error, without what it names."""
    first = text.strip().splitlines()[0] if text.strip() else "nothing"
    return re.sub(r"\s+", " ", re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'|\d+", "_", first.removeprefix("error: ")))[:80]


class Comparison:
    """Both sides, and what they were asked."""

    def __init__(self, tillhouse, postgres, tables, is_all):
        self.tillhouse, self.postgres, self.tables, self.is_all = tillhouse, postgres, tables, is_all
        self.counts, self.errors = collections.Counter(), collections.defaultdict(list)

    def statement(self, choices, is_backwards=False):
        """The query of these choices; none where they have no end."""
        with contextlib.suppress(TooLong):
            return Maker(choices, self.tables, is_backwards, self.is_all).statement()
        return None

    def ask(self, asked):
        """Of (name, choices): what PostgreSQL answers, with our answer and how it differs."""
        made = [(name, choices, self.statement(choices)) for name, choices in asked]
        made = [entry for entry in made if entry[2]]
        answers = self.postgres.ask([query for _, _, query in made])
        made = [(*entry, answer) for entry, answer in zip(made, answers) if answer is not None]
        found = []
        for (name, choices, query, other), mine in zip(made, self.tillhouse.ask([query.sql for _, _, query, _ in made])):
            kind = "error" if isinstance(mine, str) else difference(query, mine, other)
            if kind in ("rows", "order") and not self.is_steady(choices, query, other):
                kind = "unsteady"
            found.append((name, choices, query, other, mine, kind))
        return found

    def is_steady(self, choices, query, other):
        """Whether PostgreSQL gives the same answer from other plans and rows in another order."""
        turned = self.statement(Choices(given=choices.made), is_backwards=True)
        again = self.postgres.ask([turned], PLANS)[0]
        return again is not None and difference(query, again, other) is None

    def smaller(self, choices, query, kind):
        """The smallest statement that was found to differ in the same way, as an entry of `ask`."""
        best, tried, end = None, {query.sql}, time.monotonic() + SHRINK_LIMIT
        while time.monotonic() < end:
            candidates = []
            for numbers in shorter(choices):
                made = Choices(given=numbers)
                other = self.statement(made)
                if other and len(other.sql) < len(query.sql) and other.sql not in tried:
                    tried.add(other.sql)
                    candidates.append((len(other.sql), made.made))
            found = None
            candidates.sort()
            for at in range(0, len(candidates), BATCH // 4):
                batch = [("", Choices(given=numbers)) for _, numbers in candidates[at : at + BATCH // 4]]
                found = next((entry for entry in self.ask(batch) if entry[5] == kind), None)
                if found or time.monotonic() > end:
                    break
            if not found:
                break
            best, choices, query = found, found[1], found[2]
        return best

    def compare(self, seed, numbers):
        """All of the statements, and those that differ."""
        differing, shown = [], sys.stderr.isatty()
        for at in range(0, len(numbers), BATCH):
            batch = numbers[at : at + BATCH]
            found = self.ask([(number, Choices(f"{seed}/{number}")) for number in batch])
            self.counts["refused by PostgreSQL"] += len(batch) - len(found)
            for number, choices, query, other, mine, kind in found:
                if len(numbers) == 1:
                    print(f"{query.sql};\n{mine if kind == 'error' else shown_rows(mine)}")
                self.counts[kind or "same"] += 1
                if kind == "error":
                    self.errors[kind_of(mine)].append(number)
                elif kind in ("rows", "order"):
                    differing.append((number, choices, query, other, mine, kind))
            if shown:
                print(f"\r{at + len(batch)} of {len(numbers)} statements, {len(differing)} differ", end="", file=sys.stderr, flush=True)
        if shown:
            print(file=sys.stderr)
        return differing


def shorter(choices):
    """Numbers that make shorter statements: parts left out or made plain, largest first, then single numbers lowered."""
    made = choices.made
    for begin, end in sorted(set(choices.parts), key=lambda part: (part[0] - part[1], part)):
        yield made[:begin] + [0] + made[end:]
        yield made[:begin] + made[end:]
    # A part in the place of the one around it.
    for begin, end in sorted(set(choices.parts)):
        for inner, inner_end in sorted(set(choices.parts)):
            if begin <= inner and inner_end <= end and (begin, end) != (inner, inner_end) and end - begin < 300:
                yield made[:begin] + made[inner:inner_end] + made[end:]
    for at, number in enumerate(made):
        if number:
            yield from (made[:at] + [lower] + made[at + 1 :] for lower in sorted({0, number // 2, number - 1}))
        yield made[:at] + made[at + 1 :]


def shown_rows(rows):
    shown = lambda value: "NULL" if value is None else repr(value) if isinstance(value, str) else str(value)  # noqa: E731
    lines = ["      " + " | ".join(map(shown, row)) for row in rows[:SHOWN_ROWS]]
    return "\n".join([f"{len(rows)} row{'' if len(rows) == 1 else 's'}", *lines, *(["      ..."] if len(rows) > SHOWN_ROWS else [])])


def report(comparison, differing, refusals):
    """What differs, what we refuse, and what PostgreSQL does, in words."""
    told = set()
    for number, choices, query, other, mine, kind in differing[:MOST_SHRUNK]:
        small = comparison.smaller(choices, query, kind)
        if small:
            _, _, query, other, mine, _ = small
        sql = without_hidden(query.sql)
        if sql in told:
            print(f"\nstatement {number}: likewise\n    {sql};")
            continue
        told.add(sql)
        print(f"\nstatement {number}: {'the order of rows differs' if kind == 'order' else 'rows differ'}\n    {sql};", flush=True)
        print(f"    Tillhouse:  {shown_rows(mine)}\n    PostgreSQL: {shown_rows(other)}", flush=True)
    if more := differing[MOST_SHRUNK:]:
        print(f"\n{len(more)} more differ: statements {', '.join(str(entry[0]) for entry in more)}")
    told_errors = [(len(numbers), f"{kind}  (statement {', '.join(map(str, numbers[:3]))})") for kind, numbers in comparison.errors.items()]
    told_refusals = [(count, kind) for kind, count in refusals.items()]
    for title, kinds in (("Errors where PostgreSQL answers, by their kind:", told_errors), ("What PostgreSQL refuses:", told_refusals)):
        if kinds:
            print(f"\n{title}")
        for count, kind in sorted(kinds, key=lambda entry: (-entry[0], entry[1])):
            print(f"  {count:5} {kind}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, type=lambda text: str(pathlib.Path(text).resolve()))
    parser.add_argument("--statements", type=int, default=int(os.environ.get("FUZZ_STATEMENTS") or 2000))
    parser.add_argument("--seed", default=os.environ.get("FUZZ_SEED") or datetime.datetime.now(datetime.timezone.utc).date().isoformat())
    parser.add_argument("--only", type=int, help="the number of one statement, which is shown")
    parser.add_argument("--all", action="store_true", default=os.environ.get("FUZZ_ALL") == "1")
    given = parser.parse_args()
    numbers = range(given.statements) if given.only is None else [given.only]
    print(f"FUZZ_SEED={given.seed} FUZZ_STATEMENTS={given.statements}{' FUZZ_ALL=1' if given.all else ''}", flush=True)
    # An end from outside is like Ctrl-C: what was started is stopped, what was made is removed.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    with contextlib.ExitStack() as ends:
        folder = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="tillhouse-sql-")))
        postgres = PostgreSql()
        ends.callback(postgres.stop)
        tillhouse = Tillhouse(given.binary, folder)
        comparison = Comparison(tillhouse, postgres, postgres.take(tillhouse, folder / "tables"), given.all)
        differing = comparison.compare(given.seed, numbers)
        counts = comparison.counts
        refusals = collections.Counter(postgres.refusals)
        print(", ".join(f"{counts[kind]} {kind}" for kind in sorted(counts)) or "nothing was asked")
        report(comparison, differing, refusals)
    return 1 if differing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Stop as reason:
        sys.exit(f"error: {reason}")
    except KeyboardInterrupt:
        sys.exit(130)

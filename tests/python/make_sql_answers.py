"""Asks PostgreSQL and DuckDB the statements of tests/answers/*.slt, and writes PostgreSQL's answers into those files.

    make_sql_answers.py [--check] [--postgres FOLDER] [FILE...]

The statements are ours and stand in the files; the tables they are asked of are tests/answers/tables/*.csv, loaded alike everywhere. PostgreSQL's answer is the one that
Tillhouse has to give; where DuckDB gives another, a comment says which. The table of differences in docs/sql.md is asked too: PostgreSQL's answers are kept in
tests/answers/differences.txt. With --check nothing is written, and what is not as it was ends with exit code 1.

FOLDER holds initdb, postgres and psql of PostgreSQL 15 (default /usr/lib/postgresql/15/bin). A server of its own is started on a socket in a temporary folder, and
stopped. DuckDB is imported. Answers are written in a form that does not depend on a system: numbers without noughts at their end and rounded to ten digits behind
the point (floats to twelve digits before), instants in UTC, spans of time as months and seconds, lists in brackets, an empty text as (empty). Days are so many seconds where less than a
day stands beside them, with the same sign; where it does not (`25:00:00`, `1 day -02:00:00`), they stand by themselves.
"""

import argparse
import csv
import datetime
import decimal
import io
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = ROOT / "tests" / "answers"
TABLES = ANSWERS / "tables"
GUIDE = ROOT / "docs" / "sql.md"
NULL = "\u2400"
decimal.getcontext().prec = 120


def number(text):
    """A number in its one form."""
    if text in ("NaN", "Infinity", "-Infinity"):
        return text
    value = decimal.Decimal(text)
    if value == value.to_integral_value():
        return str(int(value))
    value = value.quantize(decimal.Decimal("0.0000000001"), rounding=decimal.ROUND_HALF_UP)
    shown = format(value, "f").rstrip("0").rstrip(".") if value else "0"
    return "0" if shown in ("-0", "") else shown


def float_number(value):
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return number(f"{value:.11e}")


def text_value(text):
    if text == "":
        return "(empty)"
    if text == "NULL":
        return "(NULL)"
    text = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    if text != text.strip() or "  " in text:
        text = text.replace(" ", "·")
    return text


def fraction(text):
    """A time without noughts at the end of its second."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def span(months, seconds):
    return f"{months} mons {number(str(seconds))} s"


def postgres_interval(text):
    months, days, seconds = 0, 0, decimal.Decimal(0)
    for count, unit in re.findall(r"([-+]?\d+) (year|mon|day)s?", text):
        if unit == "day":
            days += int(count)
        else:
            months += int(count) * (12 if unit == "year" else 1)
    clock = re.search(r"([-+]?)(\d+):(\d+):(\d+(?:\.\d+)?)", text)
    if clock:
        sign, hours, minutes, second = clock.groups()
        part = int(hours) * 3600 + int(minutes) * 60 + decimal.Decimal(second)
        seconds += -part if sign == "-" else part
    if abs(seconds) >= 86_400 or days * seconds < 0:
        return f"{months} mons {days} days {number(str(seconds))} s"
    return span(months, days * 86_400 + seconds)


def elements(text):
    """The elements of a list as PostgreSQL prints it; None for null."""
    found, at = [], 1
    while at < len(text) - 1:
        if text[at] == ",":
            at += 1
        if text[at] == '"':
            at, element = at + 1, ""
            while text[at] != '"':
                if text[at] == "\\":
                    at += 1
                element += text[at]
                at += 1
            at += 1
            found.append(element)
        else:
            end = min(i for i in (text.find(",", at), len(text) - 1) if i >= 0)
            element = text[at:end]
            found.append(None if element == "NULL" else element)
            at = end
    return found


def postgres_value(text, kind):
    if text == NULL or text is None:
        return "NULL"
    if kind.endswith("[]"):
        return "[" + ", ".join(postgres_value(element, kind[:-2]) for element in elements(text)) + "]"
    if kind.startswith("double precision") or kind.startswith("real"):
        return float_number(float(text))
    if kind.startswith(("numeric", "integer", "bigint", "smallint")):
        return number(text)
    if kind.startswith("boolean"):
        return {"t": "true", "f": "false"}[text]
    if kind.startswith("timestamp"):
        is_zoned = "with time zone" in kind
        moment = re.sub(r"[+-]\d\d$", "", text) if is_zoned else text
        return fraction(moment.replace(" ", "T")) + ("Z" if is_zoned else "")
    if kind.startswith("time"):
        return fraction(text)
    if kind.startswith("interval"):
        return postgres_interval(text)
    if kind.startswith("date"):
        return text
    return text_value(text)


def duckdb_value(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_number(value)
    if isinstance(value, (int, decimal.Decimal)):
        return number(str(value))
    if isinstance(value, datetime.datetime):
        moment = value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
        return fraction(moment.isoformat(timespec="microseconds")) + ("Z" if value.tzinfo else "")
    if isinstance(value, datetime.timedelta):
        return span(0, decimal.Decimal(value.days * 86_400 + value.seconds) + decimal.Decimal(value.microseconds) / 1_000_000)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return fraction(value.isoformat(timespec="microseconds"))
    if isinstance(value, list):
        return "[" + ", ".join(duckdb_value(element) for element in value) + "]"
    return text_value(str(value))


class Postgres:
    """A server of its own, on a socket in a temporary folder."""

    def __init__(self, programs):
        self.programs = Path(programs)
        self.folder = Path(tempfile.mkdtemp(prefix="tillhouse-postgres-"))
        self.user = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self.user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        data = str(self.folder / "data")
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off -c timezone=UTC"
        self._run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def _run(self, program, *arguments):
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self.user)

    def stop(self):
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)

    def psql(self, script):
        command = [str(self.programs / "psql"), "-X", "-q", "-h", str(self.folder), "-U", "postgres", "-v", "ON_ERROR_STOP=1"]
        return subprocess.run(command, input=script, capture_output=True, text=True, check=False, cwd="/")

    def load(self, name, columns, path):
        made = ", ".join(f"{column} {kind.replace('double', 'double precision')}" for column, kind in columns)
        script = f"CREATE TABLE {name} ({made});\n\\copy {name} FROM '{path}' WITH (FORMAT csv, HEADER)\n"
        done = self.psql(script)
        if done.returncode:
            sys.exit(f"PostgreSQL cannot load {path}: {done.stderr}")

    def ask(self, sql):
        """Rows, or an error's text."""
        sql = sql.rstrip(";\n")
        script = f"\\pset format csv\n\\pset null '{NULL}'\n{sql} \\gdesc\n\\echo {NULL}{NULL}\n{sql};\n"
        done = self.psql(script)
        if done.returncode:
            return None, done.stderr.strip().splitlines()[0] if done.stderr else "an error"
        described, _, answered = done.stdout.partition(f"{NULL}{NULL}\n")
        kinds = [row[1] for row in list(csv.reader(io.StringIO(described)))[1:]]
        # A row of one empty text is an empty line.
        rows = [row or [""] for row in list(csv.reader(io.StringIO(answered)))[1:]]
        if any(len(row) != len(kinds) for row in rows):
            sys.exit(f"an answer that cannot be read: {sql}: {done.stdout}")
        return [[postgres_value(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in rows], None


class DuckDb:
    """DuckDB in this process."""

    def __init__(self):
        import duckdb

        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.failure = duckdb.Error

    def load(self, name, columns, path):
        made = ", ".join(f"{column} {kind}" for column, kind in columns)
        self.connection.execute(f"CREATE TABLE {name} ({made})")
        # What is quoted and empty is an empty text, as in PostgreSQL.
        self.connection.execute(f"COPY {name} FROM '{path}' (FORMAT csv, HEADER, ALLOW_QUOTED_NULLS false)")

    def ask(self, sql):
        try:
            rows = self.connection.execute(sql).fetchall()
        except (self.failure, ValueError, OverflowError) as error:
            return None, str(error).splitlines()[0]
        return [[duckdb_value(cell) for cell in row] for row in rows], None


def tables():
    for path in sorted(TABLES.glob("*.csv")):
        with open(path, encoding="utf-8") as file:
            head = next(csv.reader(file))
        columns = [tuple(column.split(":", 1)) for column in head]
        yield path.stem, columns, path


def records(text):
    """The blocks of a file, which empty lines part."""
    return [block for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip()]


def statement(block):
    """Comments, first line and SQL of a block; no SQL for one of comments alone."""
    lines = [line for line in block.split("\n") if not line.startswith("# DuckDB:")]
    comments = [line for line in lines if line.startswith("#")]
    rest = [line for line in lines if not line.startswith("#")]
    sql = "\n".join(rest[1:]).split("\n----")[0]
    return comments, rest[0] if rest else "", sql


def answered(block, postgres, duckdb):
    comments, kind, sql = statement(block)
    if not sql:
        return block
    rows, error = postgres.ask(sql)
    other, other_error = duckdb.ask(sql)
    is_sorted = "rowsort" in kind
    if is_sorted:
        rows, other = sorted(rows or []), sorted(other or []) if other is not None else None
    if error is not None:
        if other_error is None:
            comments.append("# DuckDB: " + " | ".join(" ".join(row) for row in other[:3]))
        return "\n".join([*comments, "statement error", sql])
    if other_error is not None:
        comments.append(f"# DuckDB: {re.sub(r' +', ' ', other_error)[:160]}")
    elif other != rows:
        differing = [" ".join(row) for row, known in zip(other, rows) if row != known][:1] or [f"{len(other)} rows"]
        comments.append(f"# DuckDB: {differing[0]}")
    types = "T" * (len(rows[0]) if rows else 1)
    shown = [" ".join(row) for row in rows]
    return "\n".join([*comments, f"query {types}" + (" rowsort" if is_sorted else ""), sql, "----", *shown])


def differences():
    """The statements of the guide's table of differences."""
    part = GUIDE.read_text(encoding="utf-8").partition("## Differences from PostgreSQL")[2].partition("\n## ")[0]
    return [row.replace("&#124;", "|") for row in re.findall(r"^\| `([^`]+)` \|", part, flags=re.M)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--postgres", default="/usr/lib/postgresql/15/bin")
    arguments.add_argument("files", nargs="*", type=Path)
    given = arguments.parse_args()
    postgres, duckdb = Postgres(given.postgres), DuckDb()
    changed = []

    def write(path, text):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed.append(path)
            if not given.check:
                path.write_text(text, encoding="utf-8")

    try:
        for name, columns, path in tables():
            postgres.load(name, columns, path)
            duckdb.load(name, columns, path)
        for path in given.files or sorted(ANSWERS.glob("*.slt")):
            blocks = [answered(block, postgres, duckdb) for block in records(path.read_text(encoding="utf-8"))]
            write(path, "\n\n".join(blocks) + "\n")
        lines = []
        for sql in differences():
            rows, error = postgres.ask(f"SELECT {sql}" if not sql.upper().startswith(("SELECT", "WITH")) else sql)
            lines += [sql, "    " + (error.partition("ERROR:")[2].strip() and "an error" if error else " | ".join(" ".join(row) for row in rows))]
        if not given.files:
            write(ANSWERS / "differences.txt", "".join(line + "\n" for line in lines))
    finally:
        postgres.stop()
    for path in changed:
        print(path.resolve().relative_to(ROOT))
    if given.check and changed:
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Asks `tillhouse serve` with the clients that people use, by the steps that they take, and prints what was asked and what came.

    run.py --binary TILLHOUSE [--only NAME] [--transactions 5000] [--at POSTGRES FLIGHT --project FOLDER]

A demo's warehouse is made in a temporary folder and served over PostgreSQL's protocol and Flight SQL, on ports that are free. What each client has to find is asked of
`tillhouse sql` beforehand: how many sales count, and their sum by currency, to the digit. A client that the machine does not have is told apart as not tried; a value that
is not the one wanted is a failure, and the exit code 1. With `--at` a server that runs already is asked.

Python's clients stand in requirements.txt, but for Superset, which is asked by the Python that TILLHOUSE_SUPERSET_PYTHON names. psql, Java with the PostgreSQL JDBC driver and the PostgreSQL ODBC driver come with the operating system, on Debian as
postgresql-client, default-jdk-headless with libpostgresql-jdbc-java, and odbc-postgresql.
"""

import argparse
import asyncio
import contextlib
import decimal
import importlib
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
JDBC = "/usr/share/java/postgresql.jar"
# A client that takes longer than this, in seconds, hangs.
LIMIT = 120
COUNTED = "SELECT count(*) FROM counted"
BY_CURRENCY = "SELECT currency, sum(amount) AS amount FROM counted WHERE currency IS NOT NULL GROUP BY currency ORDER BY currency"
DAYS = "SELECT business_date, count(*) AS sales FROM counted WHERE business_date IS NOT NULL GROUP BY 1 ORDER BY 1"


class NotTried(Exception):
    """A client that is not on this machine, and what is missing."""


class Wrong(Exception):
    """A client that found something else than what is there."""


class Served:
    """The server as clients know it, and what they have to find."""

    def __init__(self, postgres, flight, binary, project):
        self.host, self.port = postgres.rsplit(":", 1)
        self.flight = flight
        self.words = f"host={self.host} port={self.port} user=ada dbname=tillhouse"

        def rows(query):
            command = [binary, "--project", project, "sql", "--format", "json", query]
            return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=LIMIT).stdout, parse_float=decimal.Decimal)

        self.counted = one_value(rows(COUNTED))
        self.sums = {row["currency"]: decimal.Decimal(str(row["amount"])) for row in rows(BY_CURRENCY)}
        self.tables = {row["table_name"] for row in rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'unified'")}
        self.days = len(rows(DAYS))

    def url(self, driver):
        return f"postgresql+{driver}://ada@{self.host}:{self.port}/tillhouse"


def one_value(rows):
    (row,) = rows
    (value,) = row.values()
    return value


def step(text):
    print(f"  > {text}", flush=True)


def check(name, found, wanted):
    """Says what came, and that it is what is there."""
    shown = repr(found)
    print(f"    {name}: {shown if len(shown) <= 100 else shown[:97] + '...'}", flush=True)
    if found != wanted:
        raise Wrong(f"{name} is {found!r}, and {wanted!r} is there")


def check_sums(served, rows):
    """Sums by currency, exact."""
    check("sums", {currency: decimal.Decimal(str(amount)) for currency, amount in rows}, served.sums)


def needs(program, package):
    found = shutil.which(program)
    if not found:
        raise NotTried(f"{program} is not there ({package})")
    return found


def output_of(command, wanted_code=0, **more):
    """What a program says to both of its outputs."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT, **more)
    if done.returncode != wanted_code:
        raise Wrong(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def version(package):
    return importlib.metadata.version(package)


def psql(served):
    program = needs("psql", "postgresql-client")
    step(output_of([program, "--version"]).strip())

    def asked(words):
        step(words)
        return output_of([program, served.words, "--no-psqlrc", "--pset", "pager=off", "--set", "ON_ERROR_STOP=1", "--command", words])

    listed = asked(r"\dt") + asked(r"\dv")
    check("\\dt and \\dv list all", served.tables <= set(re.findall(r"unified \| (\w+)", listed)), True)
    check("\\d has the amount", bool(re.search(r"\bamount +\| numeric", asked(r"\d transactions"))), True)
    described = asked(r"\d+ transactions")
    check("\\d+ says what columns mean", "Description" in described and len(described) > 4000, True)
    for words in [r"\dn", r"\df", r"\du", r"\l", r"\dp", r"\di", r"\conninfo", r"\dt unified.*", r"\d counted"]:
        asked(words)
    check("count", served.counted, int(re.search(r"\n +(\d+)\n", asked(COUNTED))[1]))
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "sums.csv"
        asked(rf"\copy ({BY_CURRENCY}) TO '{target}' WITH (FORMAT csv)")
        check_sums(served, [line.split(",") for line in target.read_text().split()])
    step("DELETE FROM transactions")
    refused = output_of([program, served.words, "--no-psqlrc", "--set", "VERBOSITY=verbose", "--command", "DELETE FROM transactions"], 1)
    check("refused", re.findall(r"ERROR: +(\w+):", refused), ["25006"])


def pgcli(served):
    step(f"pgcli {version('pgcli')}")
    program = pathlib.Path(sys.executable).parent / "pgcli"
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder, "PAGER": "cat", "TERM": "dumb"}
        base = [program, "-h", served.host, "-p", served.port, "-U", "ada", "-d", "tillhouse"]
        for words in [r"\dt", r"\d transactions", BY_CURRENCY]:
            step(words)
            done = subprocess.run([*base, "--warn", "off"], input=words + "\n\\q\n", env=env, capture_output=True, text=True, timeout=LIMIT)
            said = done.stdout + done.stderr
            if done.returncode or "Traceback" in said:
                raise Wrong(f"pgcli ended with {done.returncode}:\n{said}")
            if words == BY_CURRENCY:
                found = re.findall(r"^\| (\w+) +\| ([-\d.]+) +\|", said, re.MULTILINE)
                check_sums(served, found)
            else:
                check(f"{words} is answered", " amount " in said or "| transactions " in said, True)
        step("its completer's questions")
        executor = importlib.import_module("pgcli.pgexecute").PGExecute(
            database="tillhouse", user="ada", password="", host=served.host, port=served.port, notify_callback=None
        )
        check("tables", served.tables <= {name for schema, name in executor.tables() if schema == "unified"} | {name for schema, name in executor.views() if schema == "unified"}, True)
        check("columns", any(column[1] == "transactions" and column[2] == "amount" for column in list(executor.table_columns()) + list(executor.view_columns())), True)
        list(executor.foreignkeys())
        list(executor.functions())
        list(executor.datatypes())
        check("databases", "tillhouse" in executor.databases(), True)
        check("search path", "unified" in executor.search_path(), True)


def psycopg(served):
    psycopg = importlib.import_module("psycopg")
    step(f"psycopg {psycopg.__version__}")
    with psycopg.connect(served.words) as connection:
        check("count", connection.execute(COUNTED).fetchone()[0], served.counted)
        check_sums(served, connection.execute(BY_CURRENCY))
        step("a parameter")
        found = connection.execute("SELECT sum(amount) FROM counted WHERE currency = %s", ["EUR"]).fetchone()[0]
        check("EUR", found, served.sums["EUR"])
        step("a cursor of the server")
        with connection.cursor(name="days") as cursor:
            cursor.itersize = 2
            check("days", len(list(cursor.execute(DAYS))), served.days)


def psycopg2(served):
    psycopg2 = importlib.import_module("psycopg2")
    step(f"psycopg2 {psycopg2.__version__}")
    extras = importlib.import_module("psycopg2.extras")
    connection = psycopg2.connect(served.words)
    with connection, connection.cursor() as cursor:
        cursor.execute(COUNTED)
        check("count", cursor.fetchone()[0], served.counted)
        cursor.execute(BY_CURRENCY)
        check_sums(served, cursor.fetchall())
        step("a parameter")
        cursor.execute("SELECT sum(amount) FROM counted WHERE currency = %(currency)s AND amount > %(least)s", {"currency": "EUR", "least": -1000000})
        check("EUR", cursor.fetchone()[0], served.sums["EUR"])
    with connection, connection.cursor("days", cursor_factory=extras.DictCursor) as cursor:
        step("a cursor of the server")
        cursor.itersize = 2
        cursor.execute(DAYS)
        check("days", sum(1 for _ in cursor), served.days)
    with connection, connection.cursor() as cursor, tempfile.TemporaryFile("w+") as out:
        step("copy_expert")
        cursor.copy_expert(f"COPY ({BY_CURRENCY}) TO STDOUT WITH CSV HEADER", out)
        out.seek(0)
        check_sums(served, [line.split(",") for line in out.read().split()[1:]])
    connection.close()


def asyncpg(served):
    asyncpg = importlib.import_module("asyncpg")
    step(f"asyncpg {asyncpg.__version__}")

    async def asked():
        connection = await asyncpg.connect(host=served.host, port=int(served.port), user="ada", database="tillhouse")
        check("count", await connection.fetchval(COUNTED), served.counted)
        check_sums(served, [tuple(row) for row in await connection.fetch(BY_CURRENCY)])
        step("parameters")
        check("EUR", await connection.fetchval("SELECT sum(amount) FROM counted WHERE currency = $1", "EUR"), served.sums["EUR"])
        check("some", await connection.fetchval("SELECT count(DISTINCT currency) FROM counted WHERE currency = ANY($1)", ["EUR", "CHF"]), len({"EUR", "CHF"} & set(served.sums)))
        step("a prepared statement, rows in pieces, in a transaction")
        async with connection.transaction(readonly=True):
            statement = await connection.prepare(DAYS)
            check("columns", [column.name for column in statement.get_attributes()], ["business_date", "sales"])
            check("days", len([row async for row in statement.cursor(prefetch=2)]), served.days)
        await connection.close()
        step("a pool of four")
        async with asyncpg.create_pool(host=served.host, port=int(served.port), user="ada", database="tillhouse", min_size=4, max_size=4) as pool:
            counts = await asyncio.gather(*[pool.fetchval(COUNTED) for _ in range(8)])
            check("counts", set(counts), {served.counted})

    asyncio.run(asyncio.wait_for(asked(), LIMIT))


def sqlalchemy(served):
    sqlalchemy = importlib.import_module("sqlalchemy")
    step(f"SQLAlchemy {sqlalchemy.__version__}")
    for driver in ["psycopg", "psycopg2"]:
        step(f"create_engine('postgresql+{driver}://...')")
        engine = sqlalchemy.create_engine(served.url(driver))
        inspector = sqlalchemy.inspect(engine)
        check("default schema", inspector.default_schema_name, "unified")
        check("schemas", "unified" in inspector.get_schema_names(), True)
        check("tables", served.tables <= set(inspector.get_table_names()) | set(inspector.get_view_names()), True)
        columns = {column["name"]: column for column in inspector.get_columns("transactions")}
        check("amount", isinstance(columns["amount"]["type"], sqlalchemy.Numeric), True)
        check("its comment", bool(columns["amount"]["comment"]), True)
        check("comment of the table", bool(inspector.get_table_comment("transactions")["text"]), True)
        check("keys", (inspector.get_foreign_keys("transactions"), inspector.get_indexes("transactions"), inspector.get_unique_constraints("transactions")), ([], [], []))
        inspector.get_pk_constraint("transactions")
        inspector.get_check_constraints("transactions")
        step("Table('counted', autoload_with=engine)")
        counted = sqlalchemy.Table("counted", sqlalchemy.MetaData(), autoload_with=engine)
        asked = sqlalchemy.select(counted.c.currency, sqlalchemy.func.sum(counted.c.amount)).where(counted.c.currency.in_(list(served.sums))).group_by(counted.c.currency)
        with engine.connect() as connection:
            check_sums(served, connection.execute(asked).all())
            check("count", connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(counted)), served.counted)
            streamed = connection.execution_options(stream_results=True, yield_per=3).execute(sqlalchemy.text(DAYS))
            check("days", len(streamed.all()), served.days)
        step("MetaData.reflect")
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine, views=True)
        check("reflected", served.tables <= {table.name for table in metadata.sorted_tables}, True)
        engine.dispose()


def pandas(served):
    pandas = importlib.import_module("pandas")
    step(f"pandas {pandas.__version__}")
    engine = importlib.import_module("sqlalchemy").create_engine(served.url("psycopg"))
    step("read_sql of a query")
    frame = pandas.read_sql(BY_CURRENCY, engine)
    check_sums(served, frame.itertuples(index=False))
    step("read_sql_table")
    check("rows", len(pandas.read_sql_table("counted", engine, columns=["amount"])), served.counted)
    step("read_sql with a parameter, in pieces")
    text = importlib.import_module("sqlalchemy").text
    pieces = pandas.read_sql(text("SELECT amount FROM counted WHERE currency = :currency"), engine, params={"currency": "EUR"}, chunksize=500)
    # pandas makes floats of the decimals of a query.
    check("EUR", round(sum(float(piece["amount"].sum()) for piece in pieces), 2), float(round(served.sums["EUR"], 2)))
    engine.dispose()


def polars(served):
    polars = importlib.import_module("polars")
    step(f"polars {polars.__version__}")
    step("read_database over SQLAlchemy")
    engine = importlib.import_module("sqlalchemy").create_engine(served.url("psycopg"))
    with engine.connect() as connection:
        check_sums(served, polars.read_database(BY_CURRENCY, connection).rows())
    engine.dispose()
    step("read_database_uri, engine='adbc'")
    found = polars.read_database_uri(BY_CURRENCY, f"postgresql://ada@{served.host}:{served.port}/tillhouse", engine="adbc")
    check_sums(served, found.rows())
    step("read_database over Flight SQL")
    dbapi = importlib.import_module("adbc_driver_flightsql.dbapi")
    with dbapi.connect(f"grpc://{served.flight}") as connection:
        check_sums(served, polars.read_database(BY_CURRENCY, connection).rows())


def adbc_postgresql(served):
    step(f"adbc-driver-postgresql {version('adbc-driver-postgresql')}")
    dbapi = importlib.import_module("adbc_driver_postgresql.dbapi")
    with dbapi.connect(f"postgresql://ada@{served.host}:{served.port}/tillhouse") as connection:
        with connection.cursor() as cursor:
            cursor.execute(COUNTED)
            check("count", cursor.fetchone()[0], served.counted)
            cursor.execute(BY_CURRENCY)
            check_sums(served, cursor.fetch_arrow_table().to_pandas().itertuples(index=False))
            step("a parameter")
            cursor.execute("SELECT count(*) FROM counted WHERE currency = $1", ["EUR"])
            check("some", cursor.fetchone()[0] > 0, True)
        step("adbc_get_objects, adbc_get_table_schema")
        found = connection.adbc_get_objects(depth="tables", db_schema_filter="unified").read_all().to_pylist()
        tables = {table["table_name"] for catalog in found for schema in catalog["catalog_db_schemas"] for table in schema["db_schema_tables"]}
        check("tables", served.tables <= tables, True)
        check("schema", "amount" in connection.adbc_get_table_schema("transactions").names, True)


def adbc_flightsql(served):
    step(f"adbc-driver-flightsql {version('adbc-driver-flightsql')}")
    dbapi = importlib.import_module("adbc_driver_flightsql.dbapi")
    with dbapi.connect(f"grpc://{served.flight}") as connection:
        with connection.cursor() as cursor:
            cursor.execute(COUNTED)
            check("count", cursor.fetchone()[0], served.counted)
            cursor.execute(BY_CURRENCY)
            check_sums(served, [row.values() for row in cursor.fetch_arrow_table().to_pylist()])
            step("a parameter")
            cursor.execute("SELECT sum(amount) FROM counted WHERE currency = $1", ["EUR"])
            check("EUR", cursor.fetchone()[0], served.sums["EUR"])
        step("adbc_get_objects, adbc_get_table_schema")
        found = connection.adbc_get_objects(depth="tables", db_schema_filter="unified").read_all().to_pylist()
        tables = {table["table_name"] for catalog in found for schema in catalog["catalog_db_schemas"] for table in schema["db_schema_tables"]}
        check("tables", served.tables <= tables, True)
        check("schema", "amount" in connection.adbc_get_table_schema("transactions", db_schema_filter="unified").names, True)


def duckdb(served):
    duckdb = importlib.import_module("duckdb")
    step(f"DuckDB {duckdb.__version__}, its extension postgres_scanner")
    package = pathlib.Path(importlib.import_module("duckdb_extension_postgres_scanner").__file__).parent
    connection = duckdb.connect()
    connection.execute(f"LOAD '{package / 'extensions' / f'v{duckdb.__version__}' / 'postgres_scanner.duckdb_extension'}'")
    step("ATTACH '...' AS tills (TYPE postgres, READ_ONLY)")
    connection.execute(f"ATTACH '{served.words}' AS tills (TYPE postgres, READ_ONLY)")
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'tills' AND schema_name = 'unified' UNION SELECT view_name FROM duckdb_views() WHERE database_name = 'tills' AND schema_name = 'unified'").fetchall()}
    check("tables", served.tables <= tables, True)
    step("SELECT ... FROM tills.unified.counted")
    check("count", connection.execute("SELECT count(*) FROM tills.unified.counted").fetchone()[0], served.counted)
    check_sums(served, connection.execute(BY_CURRENCY.replace("counted", "tills.unified.counted")).fetchall())
    step("postgres_query")
    check_sums(served, connection.execute("SELECT * FROM postgres_query('tills', ?)", [BY_CURRENCY]).fetchall())


def jdbc(served):
    java = needs("java", "default-jdk-headless")
    if not pathlib.Path(JDBC).exists():
        raise NotTried(f"{JDBC} is not there (libpostgresql-jdbc-java)")
    step(f"pgjdbc, {JDBC}")
    said = output_of([java, "-cp", JDBC, HERE / "Jdbc.java", f"jdbc:postgresql://{served.host}:{served.port}/tillhouse?user=ada", COUNTED, BY_CURRENCY])
    facts = [line.split("\t") for line in said.splitlines()]
    of = lambda kind: [fact[1:] for fact in facts if fact[0] == kind]
    check("count, simple and prepared and in pieces", [int(fact[0]) for fact in of("count")], [served.counted] * 3)
    check_sums(served, of("sum"))
    check("tables", served.tables <= {fact[0] for fact in of("table")}, True)
    check("amount", of("amount")[0][0], "numeric")
    check("its comment", bool(of("amount")[0][1]), True)
    check("refused", of("refused"), [["25006"]])


def odbc(served):
    try:
        pyodbc = importlib.import_module("pyodbc")
    except ImportError as error:
        raise NotTried(f"{error} (unixodbc)") from None
    if "PostgreSQL Unicode" not in pyodbc.drivers():
        raise NotTried("the driver 'PostgreSQL Unicode' is not there (odbc-postgresql)")
    step(f"psqlODBC over pyodbc {pyodbc.version}")
    for more in ["", "UseDeclareFetch=1;Fetch=100;"]:
        step(f"connect('DRIVER={{PostgreSQL Unicode}};...;{more}')")
        words = f"DRIVER={{PostgreSQL Unicode}};SERVER={served.host};PORT={served.port};DATABASE=tillhouse;UID=ada;SSLmode=disable;{more}"
        with contextlib.closing(pyodbc.connect(words, timeout=LIMIT)) as connection:
            cursor = connection.cursor()
            check("count", cursor.execute(COUNTED).fetchone()[0], served.counted)
            check_sums(served, cursor.execute(BY_CURRENCY).fetchall())
            found = cursor.execute("SELECT sum(amount) FROM counted WHERE currency = ?", "EUR").fetchone()[0]
            check("EUR", found, served.sums["EUR"])
            check("tables", served.tables <= {row.table_name for row in cursor.tables(schema="unified")}, True)
            columns = {row.column_name: row for row in cursor.columns(table="transactions", schema="unified")}
            check("amount", columns["amount"].type_name, "numeric")
            cursor.primaryKeys("transactions", schema="unified").fetchall()
            cursor.statistics("transactions", schema="unified").fetchall()
            check("rows", len(cursor.execute("SELECT amount FROM counted").fetchall()), served.counted)


def superset(served):
    python = os.environ.get("TILLHOUSE_SUPERSET_PYTHON")
    if not python:
        raise NotTried("TILLHOUSE_SUPERSET_PYTHON names no Python with requirements-superset.txt")
    step("Superset: a connection, SQL Lab, a dataset, a chart")
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-B", HERE / "ask_superset.py", f"{served.host}:{served.port}", folder]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5 * LIMIT)
    if done.returncode:
        raise Wrong((done.stderr or done.stdout)[-3000:])
    found = json.loads(done.stdout.splitlines()[-1])
    check("schemas", "unified" in found["schemas"], True)
    check("tables", served.tables <= set(found["tables"]), True)
    check("amount", found["amount"].startswith("NUMERIC"), True)
    check_sums(served, found["sums"])
    check("times", "occurred_at" in found["times"], True)
    check("days of the chart", found["days"], served.days)


CLIENTS = {
    "psql": psql,
    "pgcli": pgcli,
    "psycopg": psycopg,
    "psycopg2": psycopg2,
    "asyncpg": asyncpg,
    "sqlalchemy": sqlalchemy,
    "pandas": pandas,
    "polars": polars,
    "adbc-postgresql": adbc_postgresql,
    "adbc-flightsql": adbc_flightsql,
    "duckdb": duckdb,
    "jdbc": jdbc,
    "odbc": odbc,
    "superset": superset,
}


@contextlib.contextmanager
def serving(binary, project):
    """A server on ports that are free, until the end."""
    command = [binary, "--project", project, "serve", "--format", "json", "--listen", "127.0.0.1:0", "--postgres", "127.0.0.1:0", "--flight", "127.0.0.1:0"]
    log = pathlib.Path(project).parent / "serve.txt"
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')[-4000:]}")
        told = json.loads(line)
        yield told["postgres"], told["flight"]
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def ask_all(served, only):
    outcomes = {}
    for name, scenario in CLIENTS.items():
        if only and name not in only:
            continue
        print(f"\n{name}", flush=True)
        try:
            scenario(served)
            outcomes[name] = "works"
        except NotTried as missing:
            outcomes[name] = f"not tried: {missing}"
        except Exception as error:  # Whatever a client says is told, and the others are asked all the same.
            traceback.print_exc(file=sys.stdout)
            outcomes[name] = f"FAILED: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
    print()
    for name, outcome in outcomes.items():
        print(f"{name:16} {outcome}")
    failed = sum(outcome.startswith("FAILED") for outcome in outcomes.values())
    tried = [outcome for outcome in outcomes.values() if not outcome.startswith("not tried")]
    print(f"\n{len(tried) - failed} passed, {failed} failed, {len(outcomes) - len(tried)} skipped")
    return 1 if failed or not tried else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", action="append", choices=list(CLIENTS))
    parser.add_argument("--transactions", type=int, default=5000)
    parser.add_argument("--at", nargs=2, metavar=("POSTGRES", "FLIGHT"))
    parser.add_argument("--project")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.binary).resolve())
    if arguments.at:
        sys.exit(ask_all(Served(*arguments.at, binary, arguments.project), arguments.only))
    with tempfile.TemporaryDirectory() as folder:
        project = str(pathlib.Path(folder) / "demo")
        print(f"A demo of {arguments.transactions} transactions is made.", flush=True)
        made = [binary, "demo", "--transactions", str(arguments.transactions), "--dir", project]
        output_of(made)
        with serving(binary, project) as (postgres, flight):
            code = ask_all(Served(postgres, flight, binary, project), arguments.only)
    sys.exit(code)


if __name__ == "__main__":
    main()

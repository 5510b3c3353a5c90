"""SQL statements as analysts write them, made by chance: what tests/python/sql_differences.py asks of Tillhouse and of PostgreSQL.

Invariant: a statement follows from the numbers of its choices and from the tables alone, so that a seed makes the same statements in every
process, and fewer or smaller numbers make a shorter statement that is as valid: nought is the plainest choice. It has one answer:
LIMIT and OFFSET come behind an order by all columns, and a window that depends on the order of equal rows is the only one. Differences by
design (docs/sql.md) are not made. One that is known is made only for `is_all` (FUZZ_ALL=1): where a query in FROM has no alias, names
in ORDER BY and HAVING are mistaken, an output's and an input's.

PostgreSQL before 16 wants an alias for a query in FROM: `hidden_N` is named by nothing, and is taken away before we are asked.
"""

import collections
import dataclasses
import re

INT, DECIMAL, TEXT, DAY, TIME, INSTANT, BOOL = "BIGINT", "DECIMAL(12, 3)", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "BOOLEAN"
# Types of made-up columns; those that lead to more are there more than once.
TYPES = [INT, INT, INT, DECIMAL, DECIMAL, TEXT, TEXT, DAY, TIME, BOOL]
# What tables are parted by.
PARTED_BY = ("pipeline", "month")
NAMES = ["a", "b", "c", "d", "k", "n", "x", "y"]
FRESH = [f"o{at}" for at in range(1, 9)]
VALUES = {
    INT: ["0", "1", "2", "3", "-1", "7", "17"],
    DECIMAL: ["0.5", "1.10", "2.00", "-1.25", "0.00", "3.333", "100.5"],
    TEXT: ["'a'", "'b'", "'ä'", "''", "'A'", "'b_c'", "'EUR'", "'Zürich'", "'x y'"],
    DAY: [f"DATE '{day}'" for day in ("2026-01-31", "2026-02-28", "2026-11-30", "2024-02-29", "2025-12-31")],
    TIME: [f"TIMESTAMP '{time}'" for time in ("2026-11-30 00:00:00", "2026-01-31 23:59:59", "2024-02-29 06:00:01.5")],
    INSTANT: [f"TIMESTAMPTZ '{time}'" for time in ("2026-11-30 00:00:00Z", "2026-11-29 12:30:00Z", "2026-11-30 10:00:00+02:00")],
    BOOL: ["true", "false"],
}
DIRECTIONS = ["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]
JOINED_BY = ["=", "=", "=", "=", "<", "IS NOT DISTINCT FROM"]
COMPARISONS = ["=", "<>", "<", ">", "<=", ">="]
SPANS = ["1 day", "1 month", "1 year", "2 weeks", "36 hours", "90 minutes"]
# {i}, {d} ... are a value of that type.
CALLS = {
    INT: ["({i} + {i})", "({i} - {i})", "({i} * 3)", "({i} % 3)", "({i} / 2)", "-({i})", "abs({i})", "CAST({d} AS BIGINT)"]
    + ["CAST(({D} - {D}) AS BIGINT)", "CAST(strpos({t}, 'e') AS BIGINT)", "CAST(length({t}) AS BIGINT)"]
    + [f"CAST(extract({part} FROM {{{of}}}) AS BIGINT)" for part in ("year", "month", "day", "isodow", "week", "quarter") for of in "DS"],
    DECIMAL: ["({d} + {d})", "({d} - {d})", "({d} * 1.5)", "({d} % 0.7)", "-({d})", "abs({d})", "round({d}, 1)", "floor({d})"]
    + ["ceil({d})", "({d} + {i})", "CAST({i} AS DECIMAL(14, 2))"],
    TEXT: ["({t} || {t})", "lower({t})", "upper(replace({t}, 'ß', 's'))", "substr({t}, 2, 3)", "trim({t})", "left({t}, 2)"]
    + ["right({t}, 1)", "concat({t}, {t})", "CAST({i} AS VARCHAR)", "split_part({t}, ':', 1)", "to_char({S}, 'YYYY-MM')"],
    DAY: ["({D} + 7)", "({D} - 1)", "CAST({S} AS DATE)", "CAST(date_trunc('month', {S}) AS DATE)"]
    + [f"CAST(({{D}} + INTERVAL '{span}') AS DATE)" for span in SPANS[:3]],
    TIME: ["CAST({D} AS TIMESTAMP)", *(f"date_trunc('{part}', {{S}})" for part in ("month", "week", "day", "hour"))]
    + [f"({{S}} {sign} INTERVAL '{span}')" for span in SPANS for sign in "+-"],
    INSTANT: ["date_trunc('day', {z})", "({z} + INTERVAL '90 minutes')"],
    BOOL: ["({b})"],
}
VALUE_FORMS = ["atom"] * 5 + ["call"] * 5 + ["COALESCE", "NULLIF", "GREATEST", "LEAST", "case", "case of", "subquery"]
TEST_FORMS = ["compare"] * 4 + ["null", "in", "in", "not in", "between", "distinct", "like", "values", "span"]
HOLES = {"i": INT, "d": DECIMAL, "t": TEXT, "D": DAY, "S": TIME, "z": INSTANT, "b": BOOL}
ROW_FRAMES = ["UNBOUNDED PRECEDING AND CURRENT ROW", "1 PRECEDING AND 1 FOLLOWING", "CURRENT ROW AND UNBOUNDED FOLLOWING"]
ROW_FRAMES += ["2 PRECEDING AND 1 PRECEDING", "1 FOLLOWING AND 3 FOLLOWING", "UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"]
PEER_FRAMES = ["", "", " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING", " RANGE BETWEEN CURRENT ROW AND CURRENT ROW"]
PEER_FRAMES += [" GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW", " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING"]
# Rows that a join without an equality may have before conditions.
MOST_PAIRS = 20_000
# Rows that are compared without a limit.
MOST_ROWS = 3_000
# A column's name, its type, literals of its values, and how it is named where it is used.
Column = collections.namedtuple("Column", "name type values ref", defaults=((), ""))
# What stands in FROM, and the name of the column that tells its rows apart, where one does.
Relation = collections.namedtuple("Relation", "sql alias columns rows key", defaults=("",))


@dataclasses.dataclass
class Rows:
    """The rows that FROM has; `total` are columns that tell all of them apart, but for equal rows."""

    columns: list
    total: list
    rows: int
    is_bare: bool = False
    has_no_alias: bool = False
    has_exact_window: bool = False

    def refs(self):
        return [(column.ref, column.type, column.values) for column in self.columns]


@dataclasses.dataclass
class Groups:
    """Groups of rows by keys; `are_sets` for ROLLUP and its like, whose keys do not tell groups apart."""

    keys: list
    rows: Rows
    are_sets: bool
    has_exact_window: bool = False

    def refs(self):
        return [(sql, kind, []) for sql, kind in self.keys]


@dataclasses.dataclass
class Query:
    sql: str
    columns: list
    rows: int
    # Calculations of columns below, for ORDER BY.
    calculations: list = dataclasses.field(default_factory=list)
    # Whether outputs are named in ORDER BY, not only counted.
    can_name: bool = True
    # Positions by which rows are ordered, and whether these are all.
    order: list = dataclasses.field(default_factory=list)
    is_total: bool = False

    def types(self):
        return [column.type for column in self.columns]


class Maker:
    """A statement from choices over `tables`, of which the first column is the key. `is_backwards` turns the rows of VALUES around,
    which has to change no answer."""

    def __init__(self, choices, tables, is_backwards=False, is_all=False):
        self.choices, self.tables, self.is_backwards, self.is_all = choices, tables, is_backwards, is_all
        self.one, self.is_so, self.number = choices.one, choices.is_so, choices.number
        self.names, self.shared, self.subqueries = 0, [], 0

    def statement(self):
        self.subqueries = self.one([0, 1, 1])
        return self.query(self.one([0, 1, 1, 2, 2, 3, 3, 4]), is_top=True)

    def name(self, prefix):
        self.names += 1
        return f"{prefix}{self.names}"

    # Values and conditions.

    def literal(self, kind, values=()):
        if self.is_so(4):
            return f"CAST(NULL AS {kind})"
        return self.one(values) if values and self.is_so(85) else self.one(VALUES[kind])

    def atom(self, scope, kind):
        if isinstance(scope, Groups):
            keys = [ref for ref, other, _ in scope.refs() if other == kind]
            if keys and not self.is_so(50):
                return self.one(keys)
            return self.literal(kind) if self.is_so(10) else self.aggregate(scope, kind)
        refs = [column.ref for column in scope.columns if column.type == kind]
        return self.one(refs) if refs and not self.is_so(8) else self.literal(kind)

    def value(self, scope, kind, depth=1):
        with self.choices.part():
            form = self.one(VALUE_FORMS) if depth > 0 else "atom"
            again = lambda: self.value(scope, kind, depth - 1)  # noqa: E731
            if form in ("COALESCE", "NULLIF", "GREATEST", "LEAST") and (kind != BOOL or form[0] in "CN"):
                return f"{form}({again()}, {again()})"
            if form == "case":
                other = f" ELSE {again()}" if self.is_so(70) else ""
                return f"CASE WHEN {self.test(scope, depth - 1)} THEN {again()}{other} END"
            if form == "case of":
                of = self.one([INT, TEXT, DECIMAL])
                whens = "".join(f" WHEN {self.literal(of)} THEN {again()}" for _ in range(2))
                return f"CASE {self.value(scope, of, 0)}{whens} ELSE {again()} END"
            if form == "subquery" and kind != BOOL and self.subqueries and isinstance(scope, Rows):
                return self.scalar(scope, kind)
            if form == "call":
                return re.sub(r"\{(\w)\}", lambda hole: self.value(scope, HOLES[hole[1]], depth - 1), self.one(CALLS[kind]))
            return self.atom(scope, kind)

    def test(self, scope, depth=1):
        with self.choices.part():
            more = ["subquery"] * 3 if self.subqueries and isinstance(scope, Rows) else []
            form = self.one(TEST_FORMS + more + (["and", "or", "or", "not", "truth"] if depth > 0 else []))
            again = lambda: self.test(scope, depth - 1)  # noqa: E731
            if form in ("and", "or"):
                return f"({again()} {form.upper()} {again()})"
            if form == "not":
                return f"NOT ({again()})"
            if form == "truth":
                return f"({again()}) IS {self.one(['TRUE', 'NOT TRUE', 'FALSE', 'UNKNOWN'])}"
            if form == "subquery":
                return self.subquery(scope)
            if form == "span":
                span = f"({self.value(scope, TIME, 0)} - {self.value(scope, TIME, 0)})"
                return f"{span} {self.one(COMPARISONS)} INTERVAL '{self.one(SPANS)}'"
            refs = scope.refs() or [("", INT, [])]
            parted = [entry for entry in refs if entry[0].endswith(PARTED_BY)]
            ref, kind, values = self.one(parted if parted and self.is_so(30) else refs)
            if isinstance(scope, Groups) and (not ref or self.is_so(60)):
                ref = self.aggregate(scope, kind)
            value = ref if self.number(100) < 60 else self.value(scope, kind, depth)
            maybe = self.one(["", "NOT "])
            if form == "null":
                return f"{value} IS {maybe}NULL"
            if form in ("in", "not in"):
                found = [self.literal(kind, values) for _ in range(1 + self.number(4))] + ["NULL"] * self.is_so(15)
                return f"{value} {'NOT ' if form == 'not in' else ''}IN ({', '.join(found)})"
            if form == "between":
                return f"{value} {maybe}BETWEEN {self.literal(kind, values)} AND {self.value(scope, kind, 0)}"
            if form == "distinct":
                return f"{value} IS {maybe}DISTINCT FROM {self.value(scope, kind, 0)}"
            if form == "like":
                return f"{self.value(scope, TEXT, 0)} {maybe}LIKE '{self.one(['%a%', 'Z%', '_', '%', 'a_%', '%e'])}'"
            other = self.value(scope, kind, depth) if form == "values" else self.literal(kind, values)
            if kind == INT and self.is_so(10):
                value, other = f"ARRAY[1, {value}]", f"ARRAY[1, {other}]"
            if kind == DECIMAL and self.is_so(15):
                value = f"CAST({value} AS DOUBLE PRECISION)"
            return f"{value} {self.one(COMPARISONS)} {other}"

    def correlation(self, inner, outer):
        """A condition between a row and the row around it; none where they have nothing of one type."""
        pairs = [(mine.ref, theirs.ref) for mine in inner.columns for theirs in outer.columns if mine.type == theirs.type]
        pairs = [pair for pair in pairs if "." in pair[0] and "." in pair[1]]
        if not pairs:
            return None
        mine, theirs = self.one(pairs)
        return f"{mine} {self.one(JOINED_BY)} {theirs}"

    def subquery(self, scope):
        self.subqueries -= 1
        outer = scope if self.is_so(50) else None
        maybe = self.one(["", "NOT "])
        if self.is_so(50):
            return f"{maybe}EXISTS ({self.query(self.one([0, 0, 1]), outer=outer).sql})"
        kind = self.one([column.type for column in scope.columns])
        return f"{self.value(scope, kind)} {maybe}IN ({self.query(self.one([0, 0, 1]), [kind], outer).sql})"

    def scalar(self, scope, kind):
        self.subqueries -= 1
        source, inner = self.source(self.one([0, 0, 1]))
        condition = self.correlation(inner, scope) if self.is_so(50) else None
        where = f" WHERE {condition}" if condition else ""
        if condition or self.number(2) == 0:
            return f"(SELECT {self.aggregate(Groups([], inner, False), kind)} FROM {source}{where})"
        return f"(SELECT {self.value(inner, kind)} FROM {source} ORDER BY 1{self.one(DIRECTIONS)} LIMIT 1)"

    def aggregate(self, groups, kind):
        with self.choices.part():
            rows = groups.rows
            of = lambda kind: self.value(rows, kind, self.one([0, 0, 1]))  # noqa: E731
            distinct = "DISTINCT " if self.is_so(15) else ""
            form = self.one(["min", "max", "min", "max", "count", "sum", "other"])
            condition = f" FILTER (WHERE {self.test(rows, 0)})" if self.is_so(15) else ""
            if kind == BOOL:
                return f"{self.one(['bool_and', 'bool_or'])}({of(kind)}){condition}"
            if kind == INT and form == "other" and groups.are_sets:
                return f"grouping({self.one(groups.keys)[0]})"
            if kind == INT and form in ("count", "other"):
                return f"count({distinct + of(self.one(TYPES)) if self.number(2) else '*'}){condition}"
            if kind == INT and form == "sum":
                return f"CAST(sum({distinct}{of(kind)}){condition} AS BIGINT)"
            if kind == DECIMAL and form in ("sum", "count"):
                return f"sum({distinct}{of(kind)}){condition}"
            if kind == DECIMAL and form == "other":
                return f"round(avg({of(kind)}){condition}, 4)"
            if kind == TEXT and form == "other":
                value = of(kind)
                return f"string_agg({distinct}{value}, ',' ORDER BY {value}){condition}"
            if kind == TEXT and form == "sum":
                return "array_to_string(array_agg({0} ORDER BY {0}), ',', '-')".format(of(INT))
            return f"{'min' if form == 'min' else 'max'}({of(kind)}){condition}"

    def window(self, scope, kind):
        """A window over rows or groups. The first may depend on the order of rows, further ones on peers alone."""
        with self.choices.part():
            is_exact = not scope.has_exact_window and not (isinstance(scope, Groups) and scope.are_sets)
            scope.has_exact_window = True
            refs = [ref for ref, _, _ in scope.refs()]
            total = self.choices.shuffled(scope.total if isinstance(scope, Rows) else refs)
            if not total:
                return self.atom(scope, kind)
            part = f"PARTITION BY {', '.join(keys)} " if (keys := self.choices.some(refs, 2)) else ""
            by = lambda refs: "ORDER BY " + ", ".join(ref + self.one(DIRECTIONS) for ref in refs)  # noqa: E731
            of = lambda: self.value(scope, kind, self.one([0, 1]))  # noqa: E731
            form = self.one(["extreme", "extreme", "sum", "rank", "number", "beside", "place"])
            if form in ("number", "beside", "place") and is_exact:
                over = f"OVER ({part}{by(total)}"
                if form == "number" and kind == INT:
                    return f"row_number() {over})" if self.number(2) == 0 else f"CAST(ntile(3) {over}) AS BIGINT)"
                if form == "place":
                    called = self.one(["first_value({})", "last_value({})", "nth_value({}, 2)"]).format(of())
                    return f"{called} {over} ROWS BETWEEN {self.one(ROW_FRAMES)})"
                return f"{self.one(['lag', 'lead'])}({of()}{self.one(['', ', 2'])}) {over})"
            if form == "rank" and kind == INT:
                return f"{self.one(['rank', 'dense_rank'])}() OVER ({part}{by(total[:1])})"
            called = f"{self.one(['bool_and', 'bool_or'] if kind == BOOL else ['min', 'max'])}({of()})"
            if form == "sum" and kind in (INT, DECIMAL):
                called = f"count({of()})" if kind == INT and self.number(2) else f"sum({of()})"
            if isinstance(scope, Rows) and self.is_so(15):
                called += f" FILTER (WHERE {self.test(scope, 0)})"
            frame = self.one(["all", "peers", "peers", "rows"])
            if frame == "all":
                over = f"OVER ({part.strip()})"
            elif frame == "rows" and is_exact:
                over = f"OVER ({part}{by(total)} ROWS BETWEEN {self.one(ROW_FRAMES)})"
            else:
                over = f"OVER ({part}{by(total[:1])}{self.one(PEER_FRAMES)})"
            return f"CAST({called} {over} AS BIGINT)" if kind == INT else f"{called} {over}"

    # What stands in FROM.

    def table_of_values(self):
        columns = self.choices.shuffled([Column(name, self.one(TYPES)) for name in NAMES[: 1 + self.number(3)]])
        cell = lambda column: "NULL" if self.is_so(20) else self.one(VALUES[column.type][:4])  # noqa: E731
        rows = [[cell(column) for column in columns] for _ in range(1 + self.number(6))]
        if self.is_backwards:
            rows.reverse()
        rows[0] = [f"CAST({value} AS {column.type})" for value, column in zip(rows[0], columns)]
        alias = self.name("v")
        shown = ", ".join(f"({', '.join(row)})" for row in rows)
        return Relation(f"(VALUES {shown}) AS {alias}({', '.join(column.name for column in columns)})", alias, columns, len(rows))

    def relation(self, depth):
        with self.choices.part():
            form = self.one(["values", "values", "table", "table", "query", "query", "query", "query"])
            if self.shared and self.is_so(45):
                name, query = self.one(self.shared)
                alias = self.name("c")
                return Relation(f"{name} AS {alias}", alias, query.columns, query.rows)
            if form == "table":
                table = self.one(list(self.tables))
                (key, *others), alias = self.tables[table], self.name("t")
                # A statement knows the key and a few of the other columns, often those that the table is parted by.
                some = self.choices.some(others, 5)
                some += [column for column in others[:2] if column.name in PARTED_BY and column not in some and self.is_so(40)]
                return Relation(f"{table} AS {alias}", alias, [key, *some], 400, key.name)
            if form == "values" or depth <= 0:
                return self.table_of_values()
            query = self.query(depth - 1)
            alias = self.name("hidden_" if self.is_so(25) else "q")
            return Relation(f"({query.sql}) AS {alias}", alias, query.columns, query.rows)

    def scope(self, relation, is_bare=False):
        before = "" if is_bare else f"{relation.alias}."
        columns = [column._replace(ref=before + column.name) for column in relation.columns]
        total = [column.ref for column in columns if not relation.key or column.name == relation.key]
        return Rows(columns, total, relation.rows, is_bare=is_bare)

    def source(self, depth):
        """The text of FROM, and its rows."""
        relation = self.relation(depth)
        sql = relation.sql
        if relation.alias.startswith("hidden_"):
            return sql, dataclasses.replace(self.scope(relation, is_bare=True), has_no_alias=True)
        scope = self.scope(relation, is_bare=self.is_so(20))
        if scope.is_bare:
            return sql, scope
        for _ in range(self.one([0, 0, 0, 1, 1, 2])):
            with self.choices.part():
                sql, scope = self.joined(sql, scope, depth)
        return sql, scope

    def joined(self, sql, left, depth):
        kind = self.one(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", "LATERAL"])
        if kind == "LATERAL" and left.rows <= 500:
            query = self.query(0, outer=left)
            right = self.scope(Relation("", alias := self.name("l"), query.columns, query.rows))
            sql += self.one([" CROSS JOIN LATERAL ({}) AS {}", " LEFT JOIN LATERAL ({}) AS {} ON true"]).format(query.sql, alias)
            return sql, Rows(left.columns + right.columns, left.total + right.total, left.rows * max(1, min(query.rows, 5)))
        relation = self.relation(depth - 1)
        if relation.alias.startswith("hidden_"):
            relation = relation._replace(sql=relation.sql.removesuffix(relation.alias) + (alias := self.name("q")), alias=alias)
        right = self.scope(relation)
        pairs = [(mine, theirs) for mine in left.columns if "." in mine.ref for theirs in right.columns if mine.type == theirs.type]
        pairs = [pair for pair in pairs if pair[0].name == pair[1].name] or pairs
        if {column.name for column in left.columns if "." not in column.ref} & {column.name for column in right.columns}:
            return sql, left
        product = left.rows * right.rows
        both = Rows(left.columns + right.columns, left.total + right.total, product)
        if product > MOST_PAIRS:
            pairs = [(mine, theirs) for mine, theirs in pairs if mine.name.endswith("_key") or theirs.name.endswith("_key")]
        if kind in ("CROSS JOIN", "LATERAL") or not pairs:
            return (f"{sql} CROSS JOIN {relation.sql}", both) if product <= MOST_PAIRS else (sql, left)
        mine, theirs = self.one(pairs)
        both.rows = min(product, 3 * max(left.rows, right.rows))
        names = [column.name for column in left.columns]
        if mine.name == theirs.name and names.count(mine.name) == 1 and self.is_so(35):
            merged = Column(mine.name, mine.type, mine.values, mine.name)
            both.columns = [merged] + [column for column in both.columns if column.name != mine.name]
            both.total = [column.ref for column in both.columns]
            return f"{sql} {kind} {relation.sql} USING ({mine.name})", both
        is_plain = kind == "FULL JOIN" or product > MOST_PAIRS
        on = f"{mine.ref} {'=' if is_plain else self.one(JOINED_BY)} {theirs.ref}"
        if kind != "FULL JOIN" and self.is_so(30):
            kept, self.subqueries = self.subqueries, 0
            on += f" AND {self.test(self.one([both, left, right]))}"
            self.subqueries = kept
        return f"{sql} {kind} {relation.sql} ON {on}", both

    # Queries.

    def output_names(self, number, scope, is_fresh):
        """Names of a query's columns, many of them those of columns below, and no two the same."""
        below = [column.name for column in scope.columns]
        found = []
        for _ in range(number):
            known = [name for name in below if name not in found]
            if is_fresh:
                known = [name for name in FRESH if name not in found and name not in below]
            elif not known or self.is_so(30):
                known = [name for name in NAMES if name not in found]
            found.append(self.one(known))
        return found

    def key(self, rows, column):
        """What rows are grouped by: a column, or a calculation that has one in it."""
        value = self.value(rows, column.type, 1) if self.is_so(25) else column.ref
        refs = "|".join(re.escape(other.ref) for other in rows.columns)
        is_calculation = re.search(rf"(?<![\w'.])(?:{refs})\b(?!')", value) and "SELECT" not in value and " IN (" not in value
        return (value if is_calculation else column.ref), column.type

    def grouping(self, keys):
        """The text of GROUP BY, and whether it has sets of keys."""
        if not keys:
            return "", False
        form, shown = self.one(["keys"] * 4 + ["ROLLUP", "CUBE", "GROUPING SETS"]), ", ".join(keys)
        if form == "keys":
            return f" GROUP BY {shown}", False
        if form == "GROUPING SETS":
            sets = [f"({', '.join(self.choices.some(keys, len(keys)))})" for _ in range(1 + self.number(2))]
            shown = ", ".join([f"({shown})", *sets])
        return f" GROUP BY {form} ({shown})", True

    def select(self, depth, types, outer):
        with self.choices.part():
            source, rows = self.source(depth)
            if not types:
                known = [column.type for column in rows.columns]
                types = [self.one(TYPES if self.is_so(25) else known) for _ in range(1 + self.number(4))]
            conditions = [self.test(rows, self.one([0, 1, 2]))] if self.is_so(50) else []
            if outer:
                conditions += filter(None, [self.correlation(rows, outer)])
            tail = f" WHERE {' AND '.join(conditions)}" if conditions else ""
            form = self.one(["rows", "rows", "groups", "groups", "window", "distinct"])
            count, is_fresh, calculations = rows.rows, False, []
            if form == "groups":
                keys = dict(self.key(rows, column) for column in self.choices.some(rows.columns, 3))
                by, are_sets = self.grouping(list(keys))
                groups, tail = Groups(list(keys.items()), rows, are_sets), tail + by
                make = self.window if self.is_so(30) else self.value
                values = [make(groups, kind) if self.is_so(60) else self.value(groups, kind, self.one([0, 0, 1])) for kind in types]
                if self.is_so(35):
                    tail += f" HAVING {self.test(groups)}"
                    is_fresh = rows.has_no_alias and not self.is_all
                count = max(1, rows.rows // 2) if keys else 1
            else:
                make = self.window if form == "window" else self.value
                values = [make(rows, kind) if self.is_so(60) else self.value(rows, kind, self.one([0, 1, 2])) for kind in types]
                if self.is_all and rows.has_no_alias and form == "rows":
                    calculations = [f"-{column.ref}" for column in rows.columns if column.type in (INT, DECIMAL)]
            names = self.output_names(len(types), rows, is_fresh)
            shown = ", ".join(f"{value} AS {name}" for value, name in zip(values, names))
            sql = f"SELECT {'DISTINCT ' * (form == 'distinct')}{shown} FROM {source}{tail}"
            can_name = self.is_all or not rows.has_no_alias
            return Query(sql, [Column(*pair) for pair in zip(names, types)], count, calculations, can_name)

    def combination(self, depth, types):
        """Two queries by UNION and its like, each with an order and a limit of its own where it has one."""
        operation = self.one(["UNION ALL", "UNION", "INTERSECT", "EXCEPT"] * 10 + ["INTERSECT ALL", "EXCEPT ALL"])
        left = self.query(depth - 1, types)
        if self.is_so(25):
            columns = [Column(name, column.type) for column, name in zip(left.columns, FRESH)]
            right = Query("SELECT " + ", ".join(f"{self.literal(column.type)} AS {column.name}" for column in columns), columns, 1)
        else:
            right = self.query(depth - 1, left.types())
        left, right = (right, left) if self.is_so(30) else (left, right)
        return Query(f"({left.sql}) {operation} ({right.sql})", left.columns, left.rows + right.rows)

    def query(self, depth, types=None, outer=None, is_top=False):
        with self.choices.part():
            kept, shared = len(self.shared), []
            if depth > 0 and outer is None and self.is_so(35 if is_top else 10):
                for _ in range(1 + self.number(2)):
                    query = self.query(depth - 1)
                    self.shared.append((self.name("w"), query))
                    shared.append(f"{self.shared[-1][0]} AS ({query.sql})")
            is_combined = depth > 0 and outer is None and self.is_so(20)
            query = self.combination(depth, types) if is_combined else self.select(depth, types, outer)
            del self.shared[kept:]
            if shared:
                query.sql = f"WITH {', '.join(shared)} {query.sql}"
            self.put_in_order(query, is_top)
            return query

    def put_in_order(self, query, is_top):
        """ORDER BY, LIMIT and OFFSET behind a query; a limit only behind an order by all columns."""
        form = self.one(["none", "all", "limit", "limit", "some"] if is_top else ["none", "none", "none", "all", "limit"])
        is_many = is_top and query.rows > MOST_ROWS
        if form == "none" and not is_many:
            return
        positions = self.choices.shuffled(range(len(query.columns)))
        query.is_total = form != "some" or is_many
        query.order = positions if query.is_total else positions[:1]
        by = [query.columns[at].name if query.can_name and self.is_so(35) else str(at + 1) for at in query.order]
        calculation = [self.one(query.calculations)] if query.calculations else []
        query.sql += f" ORDER BY {', '.join([*calculation, *(text + self.one(DIRECTIONS) for text in by)])}"
        if calculation:
            query.order = positions if query.is_total else []
        if form == "limit" or is_many:
            limit = self.one([3, 1, 2, 5, 10, 50])
            query.sql += f" LIMIT {limit}" + (f" OFFSET {self.one([1, 2, 5])}" if self.is_so(35) else "")
            query.rows = min(query.rows, limit)

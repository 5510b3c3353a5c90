"""Asks a server as a person does with Superset: a connection, its schemas and tables, a query in SQL Lab, a dataset, a chart. Prints what came as JSON.

    ask_superset.py HOST:PORT FOLDER

Superset runs within this process, with its own database in FOLDER, and is asked by its own API. The environment is that of requirements-superset.txt.
"""

import json
import logging
import os
import pathlib
import secrets
import subprocess
import sys

CONFIG = """
SECRET_KEY = {key!r}
SQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
_CACHE = {{"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": 60}}
CACHE_CONFIG = DATA_CACHE_CONFIG = FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = _CACHE
"""
SUMS = "SELECT currency, CAST(sum(amount) AS TEXT) AS amount FROM counted WHERE currency IS NOT NULL GROUP BY currency ORDER BY currency"


class Superset:
    def __init__(self, folder):
        config = pathlib.Path(folder) / "superset_config.py"
        config.write_text(CONFIG.format(key=secrets.token_hex(32), folder=folder))
        os.environ["SUPERSET_CONFIG_PATH"] = str(config)
        os.environ["FLASK_APP"] = "superset.app:create_app()"
        program = pathlib.Path(sys.executable).parent / "superset"
        password = secrets.token_hex(16)
        user = ["--username", "ada", "--firstname", "a", "--lastname", "a", "--email", "ada@example.org", "--password", password]
        for words in [["db", "upgrade"], ["fab", "create-admin", *user], ["init"]]:
            done = subprocess.run([program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise SystemExit(f"superset {words[0]} failed: {done.stdout[-2000:]}")
        logging.disable(logging.WARNING)
        from superset.app import create_app

        app = create_app()
        self.client, self.headers = app.test_client(), {}
        login = {"username": "ada", "password": password, "provider": "db", "refresh": False}
        self.headers = {"Authorization": "Bearer " + self.ask("post", "security/login", login)["access_token"]}

    def ask(self, method, path, body=None):
        answer = getattr(self.client, method)(f"/api/v1/{path}", json=body, headers=self.headers)
        if answer.status_code >= 300:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.get_data(as_text=True)[:2000]}")
        return answer.get_json()


def main():
    place, folder = sys.argv[1:]
    superset = Superset(folder)
    connection = {"sqlalchemy_uri": f"postgresql+psycopg2://ada@{place}/tillhouse", "database_name": "tills"}
    superset.ask("post", "database/test_connection/", connection)
    database = superset.ask("post", "database/", {**connection, "expose_in_sqllab": True})["id"]
    found = {"schemas": superset.ask("get", f"database/{database}/schemas/")["result"]}
    tables = superset.ask("get", f"database/{database}/tables/?q=(schema_name:unified)")["result"]
    found["tables"] = [table["value"] for table in tables]
    columns = superset.ask("get", f"database/{database}/table_metadata/?name=transactions&schema=unified")["columns"]
    found["amount"] = next(column["type"] for column in columns if column["name"] == "amount")
    query = {"database_id": database, "schema": "unified", "sql": SUMS, "client_id": "sums", "runAsync": False}
    found["sums"] = [[row["currency"], row["amount"]] for row in superset.ask("post", "sqllab/execute/", query)["data"]]
    dataset = superset.ask("post", "dataset/", {"database": database, "schema": "unified", "table_name": "counted"})["id"]
    about = superset.ask("get", f"dataset/{dataset}")["result"]["columns"]
    found["times"] = [column["column_name"] for column in about if column["is_dttm"]]
    day = {"timeGrain": "P1D", "columnType": "BASE_AXIS", "sqlExpression": "business_date", "label": "day", "expressionType": "SQL"}
    count = {"expressionType": "SQL", "sqlExpression": "count(*)", "label": "sales"}
    # A dataset keeps to the days that are known.
    known = {"col": "business_date", "op": "IS NOT NULL"}
    chart = {
        "datasource": {"id": dataset, "type": "table"},
        "force": True,
        "queries": [{"columns": [day], "metrics": [count], "filters": [known], "row_limit": 10000}],
        "result_format": "json",
        "result_type": "full",
    }
    found["days"] = len(superset.ask("post", "chart/data", chart)["result"][0]["data"])
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Changed sales merged into a Delta table by delta-rs. A peer of `bench/scale.py`.

    peer_merge.py TABLE FILE PIPELINE MONTH

FILE has the rows in their new version, all of them of one partition, which the condition names so that no file of another one is read. The table's log is read and the merge committed
within the time; the rows are in memory before. Prints one line of JSON.
"""

import json
import sys
import time

import pyarrow.parquet
from deltalake import DeltaTable


def main():
    table, file, pipeline, month = sys.argv[1:]
    rows = pyarrow.parquet.read_table(file)
    same = f"target.transaction_key = source.transaction_key AND target.pipeline = '{pipeline}' AND target.month = '{month}'"
    begin = time.perf_counter()
    merge = DeltaTable(table).merge(rows, same, source_alias="source", target_alias="target")
    done = merge.when_matched_update_all().when_not_matched_insert_all().execute()
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "rows": rows.num_rows, "updated": done["num_target_rows_updated"], "inserted": done["num_target_rows_inserted"]}))


if __name__ == "__main__":
    main()

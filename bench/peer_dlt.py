"""dlt: an upsert by id into Delta tables on the filesystem, from pages that are downloaded as the others download them."""

import argparse
import os
import pathlib
import queue
import threading

import orjson
import pages


def main():
    parser = pages.arguments(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    import dlt

    waiting = queue.Queue(maxsize=8)
    failed = []

    def download():
        try:
            pages.read(
                args.base, args.first, args.last, args.page_size, args.connections, lambda _, body: waiting.put(body)
            )
        except Exception as error:
            failed.append(error)
        waiting.put(None)

    @dlt.resource(
        name="transactions",
        primary_key="id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        table_format="delta",
    )
    def transactions():
        threading.Thread(target=download, daemon=True).start()
        while (body := waiting.get()) is not None:
            yield orjson.loads(body)["data"]
        if failed:
            raise failed[0]

    pipeline = dlt.pipeline(
        pipeline_name="hecone",
        pipelines_dir=str(args.out / "state"),
        destination=dlt.destinations.filesystem(bucket_url=(args.out / "lake").as_uri()),
        dataset_name="hecone",
    )
    pipeline.run(transactions())


if __name__ == "__main__":
    main()

"""The bare download: reads every page and keeps nothing. With --survey, says what there is, which takes longer."""

import argparse
import json
import threading

import pages


def main():
    parser = pages.arguments(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--survey", action="store_true")
    args = parser.parse_args()
    lock = threading.Lock()
    seen = {"pages": 0, "bytes": 0, "records": 0}
    ids = set()

    def keep(_, body):
        found = [record["id"] for record in json.loads(body)["data"]] if args.survey else []
        with lock:
            seen["pages"] += 1
            seen["bytes"] += len(body)
            seen["records"] += len(found)
            ids.update(found)

    pages.read(args.base, args.first, args.last, args.page_size, args.connections, keep)
    print(json.dumps({**seen, "distinct": len(ids)}))


if __name__ == "__main__":
    main()

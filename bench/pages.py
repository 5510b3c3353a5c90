"""All pages of HecOne's transaction list, as fast as a small Python program can have them.

The peers of the benchmark share this, so that they differ in what they do with the bytes and not in how they get them: one connection a
thread, the same windows of a day and the same page size as `tillhouse sync` is given, bodies not parsed beyond what paging needs.
"""

import datetime
import json
import re
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import urllib3

TOTAL = re.compile(rb'"total"\s*:\s*(\d+)')


def days(first, last):
    """The windows [from, to) of a day each, both in UTC."""
    day = datetime.date.fromisoformat(first)
    while day < datetime.date.fromisoformat(last):
        following = day + datetime.timedelta(days=1)
        yield f"{day}T00:00:00Z", f"{following}T00:00:00Z"
        day = following


def total(body):
    """`meta.total` of a page, looked for where the envelope is: before the records or after them."""
    found = TOTAL.search(body[:2000]) or TOTAL.search(body[-2000:])
    if not found:
        raise ValueError("a page without meta.total")
    return int(found.group(1))


def read(base, first, last, page_size, connections, keep):
    """Calls `keep(name, body)` for every page, from `connections` threads; `name` orders the pages. Raises on any error."""
    pool = urllib3.PoolManager(maxsize=connections, timeout=60, retries=False)

    def body_of(method, path, **options):
        response = pool.request(method, base + path, **options)
        if response.status != 200:
            raise ValueError(f"{method} {path}: {response.status}")
        return response.data

    credentials = json.dumps({"client_id": "sandbox", "client_secret": "sandbox-secret"})
    login = body_of("POST", "/auth/login", body=credentials, headers={"Content-Type": "application/json"})
    headers = {"Authorization": "Bearer " + json.loads(login)["access_token"]}

    def read_day(window):
        offset = 0
        while True:
            query = urllib.parse.urlencode(
                {
                    "start_date": window[0],
                    "end_date": window[1],
                    "sort": "id",
                    "page[offset]": offset,
                    "page[limit]": page_size,
                }
            )
            body = body_of("GET", f"/transactions?{query}", headers=headers)
            keep(f"{window[0][:10]}-{offset:09}", body)
            offset += page_size
            if offset >= total(body):
                return

    with ThreadPoolExecutor(connections) as threads:
        for _ in threads.map(read_day, days(first, last)):
            pass


def arguments(parser):
    """The arguments that every peer takes."""
    parser.add_argument("base", help="the API's base URL")
    parser.add_argument("--from", dest="first", required=True)
    parser.add_argument("--to", dest="last", required=True)
    parser.add_argument("--page-size", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    return parser

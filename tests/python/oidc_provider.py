"""An OpenID Connect provider on loopback, for tests of the server's tokens.

It prints the address that it listens on, lets `own` and `stranger` log in at any client, and signs with another key when a line comes in. It ends with its input: with the
test that started it.
"""

import logging
import os
import sys
import threading
import warnings

warnings.simplefilter("ignore")
# Loopback, without TLS.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import werkzeug.serving
from authlib import jose
from oidc_provider_mock import app
from oidc_provider_mock._storage import User, storage


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    verified = {"email_verified": True}
    users = [
        User(sub="own", claims={"email": "own@example.org", **verified}),
        User(sub="stranger", claims={"email": "stranger@example.org", **verified}),
    ]
    provider = app(user_claims=users)
    server = werkzeug.serving.make_server("127.0.0.1", 0, provider, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    for _ in sys.stdin:
        with provider.test_request_context():
            provider.preprocess_request()
            storage.jwk = jose.RSAKey.generate_key(is_private=True)
        print("changed", flush=True)


if __name__ == "__main__":
    main()

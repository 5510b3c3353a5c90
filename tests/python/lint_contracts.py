"""Asks datacontract-cli, which knows nothing of Tillhouse, whether contracts follow the Open Data Contract Standard.

    lint_contracts.py CONTRACT_OR_FOLDER...

Prints one line a file and exits with 1 if one was refused, with 2 if there was none. It is `datacontract lint FILE` for all of
them in one process, against the JSON schema that comes with datacontract-cli: no connection is made, and trying is an error.
"""

import pathlib
import socket
import sys


def no_network(*_arguments, **_options):
    raise OSError("linting a contract must not reach for the network")


def verdict(path):
    """Whether the file is accepted, and why not."""
    from datacontract.data_contract import DataContract

    run = DataContract(data_contract_file=str(path), all_errors=True).lint()
    reasons = [check.reason or check.name for check in run.checks if check.result != "passed"]
    return run.result == "passed" and bool(run.checks), reasons


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    files = []
    for argument in map(pathlib.Path, sys.argv[1:]):
        files += sorted(argument.rglob("*.yaml")) if argument.is_dir() else [argument]
    if not files:
        print(f"no contract under {', '.join(sys.argv[1:])}", file=sys.stderr)
        return 2
    socket.socket.connect = no_network
    socket.create_connection = no_network
    refused = 0
    for path in files:
        accepted, reasons = verdict(path)
        refused += not accepted
        print(f"{'accepted' if accepted else 'refused '} {path}" + "".join(f"\n    {reason}" for reason in reasons))
    print(f"{len(files)} contracts, {refused} refused")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

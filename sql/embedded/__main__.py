"""`python -m sql.embedded --data DIR`: a keeper. It prints one JSON object with the server's address, and ends with its
parent process, or at Ctrl-C."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from sql.embedded import binaries, places
from sql.embedded.cluster import Cluster
from sql.embedded.errors import EmbeddedFailure
from sql.embedded.keeper import Keeper, Watch


def main() -> int:
    """0 when the server was stopped, 1 when it could not be started."""
    parser = argparse.ArgumentParser(prog="python -m sql.embedded")
    parser.add_argument("--data", type=Path, required=True, help="the folder the data live in")
    parser.add_argument("--bin-dir", type=Path, help="PostgreSQL's programs, if not the wheel's")
    parser.add_argument("--tcp-port", type=int, help="also listen on this loopback port")
    parser.add_argument("--not-durable", action="store_true", help="faster, and loses data when the machine stops")
    parser.add_argument("--smart-seconds", type=float, default=35.0, help="how long clients may take to leave")
    parser.add_argument("--start-seconds", type=float, default=120.0, help="how long a start may take")
    parser.add_argument("--owner", type=int, default=os.getppid(), help="the process to end with (the parent)")
    options = parser.parse_args()

    watch = Watch(options.owner)
    os.umask(0o022)
    client_uid = os.getuid()
    try:
        home, account = places.find_home(options.data)
        bin_dir = binaries.runnable_bin_dir(options.bin_dir, account)
        places.become(account)
        os.chdir(home)
        cluster = Cluster(
            home, bin_dir, client_uid=client_uid, tcp_port=options.tcp_port, durable=not options.not_durable
        )
        keeper = Keeper(cluster, watch, _say, smart_seconds=options.smart_seconds, start_seconds=options.start_seconds)
        keeper.keep()
    except EmbeddedFailure as error:
        _say({"error": str(error)})
        return 1
    except OSError as error:
        _say({"error": f"the embedded PostgreSQL cannot be started: {error}"})
        return 1
    return 0


def _say(what: dict[str, Any]) -> None:
    # The owner may be gone.
    try:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())

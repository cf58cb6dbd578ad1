"""`python -m local.simulator`: run the Finch simulator alone until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import threading

from local.simulator.server import Simulator


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: a free port)")
    parser.add_argument("--redirect-uri", action="append", default=[], help="can be given several times")
    given = parser.parse_args()
    redirect_uris = given.redirect_uri or ["http://localhost:3000/callback"]
    with Simulator(redirect_uris=redirect_uris, port=given.port) as finch, contextlib.suppress(KeyboardInterrupt):
        print(f"The Finch simulator runs at {finch.url}")
        print(f"Client id {finch.client_id}, client secret {finch.client_secret}, login smallco / letmein")
        threading.Event().wait()


if __name__ == "__main__":
    main()

"""`python -m local.simulator`: the simulator alone, until Ctrl-C. PORT and REDIRECT_URI come as arguments."""

from __future__ import annotations

import argparse
import contextlib
import threading

from local.simulator.server import Simulator


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--redirect-uri", action="append", default=[], help="may be given several times")
    given = parser.parse_args()
    redirect_uris = given.redirect_uri or ["http://localhost:3000/callback"]
    with Simulator(redirect_uris=redirect_uris, port=given.port) as finch, contextlib.suppress(KeyboardInterrupt):
        print(f"Finch is simulated at {finch.url}")
        print(f"client_id {finch.client_id}, client secret {finch.client_secret}, logins smallco/letmein")
        threading.Event().wait()


if __name__ == "__main__":
    main()

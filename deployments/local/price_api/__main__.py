"""Serves made-up prices on loopback until it is stopped."""

from __future__ import annotations

import argparse

from deployments.local.price_api.server import PriceAPI

PORT = 18090


def main() -> None:
    """Serve on the port that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local.price_api")
    parser.add_argument("--port", type=int, default=PORT)
    PriceAPI(parser.parse_args().port).serve_forever()


if __name__ == "__main__":
    main()

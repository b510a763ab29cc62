"""A price API of the Yahoo Finance chart kind, with made-up prices: for the stack and the tests.

``python -m deployments.local.price_api --port 18090`` serves it. Its answers have the shape that
was recorded of the real one: a session's open as the day's time, no ``timestamp`` where nothing was
traded, an error object for a symbol that there is not, the last price behind an unfinished day. The
prices of a day are the same in every process. Tests make it correct a day, or fail.
"""

from deployments.local.price_api.server import Fault, PriceAPI

__all__ = ["Fault", "PriceAPI"]

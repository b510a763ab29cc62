"""Places among the readers of a source: how a process takes, shares, keeps and gives them back.

`limits.py` talks to Prefect's server, `place_pool.py` is what threads share, `keeper.py` the
background thread that does all the asking, and `leaks.py` finds places that nobody holds any more.
"""

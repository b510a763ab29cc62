"""The journeys: which steps, for which tables and windows. What a user starts."""

import logging

# At DEBUG it logs what it sends, and with it the key to Prefect's API.
logging.getLogger("websockets").setLevel(logging.INFO)

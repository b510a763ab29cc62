"""The flows: which steps, for which tables and windows. What a user starts."""

import logging

from tasks.runs.lost_turn import go_on_without_a_turn

# At DEBUG it logs what it sends, and with it the key to Prefect's API.
logging.getLogger("websockets").setLevel(logging.INFO)

# Whatever process runs one of these flows has imported it from here.
go_on_without_a_turn()

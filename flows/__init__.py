"""The journeys: which steps, for which tables and windows. What a user starts."""

"""Runs, as Prefect's server knows them: a run's own state, the watch, which failures were told."""

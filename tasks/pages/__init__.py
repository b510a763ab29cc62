"""What people look at: artifacts on a run's page, charts, progress."""

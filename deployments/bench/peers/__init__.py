"""Other tools that carry tables from MySQL to PostgreSQL, measured in turn with ours."""

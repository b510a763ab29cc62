"""Other tools that carry tables from MySQL to PostgreSQL, or to S3, measured in turn with ours."""

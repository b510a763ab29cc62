"""Table specs: one table of `tables.yaml`, parsed and checked, with the line of every mistake."""

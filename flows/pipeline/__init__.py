"""What the flows share: a batch through its steps, many windows, workers, specs."""

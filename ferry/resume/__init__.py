"""A full copy that goes on where it stopped: its pieces, and which of them have arrived."""

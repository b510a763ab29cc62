"""The target in the warehouse: made, altered, and looked at before and after a batch."""

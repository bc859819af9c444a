"""The mind of the node: pure decisions, values in and values out."""

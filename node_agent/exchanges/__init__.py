"""Where orders go: the port that the node asks, and what stands behind it."""

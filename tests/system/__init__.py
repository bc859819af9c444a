"""Node and server together, as the real programs."""

"""One small server a framework, each with signed requests; how to run them stands on top of each file."""

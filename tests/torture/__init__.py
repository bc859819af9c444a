"""The kill test: real nodes, killed at any moment and started again, until the books of all sides are compared."""

"""All tests of the project; what several of them share lies in `tests/support`."""

"""The demo: a day of trading on loopback, live, and then the attacks that must fail."""

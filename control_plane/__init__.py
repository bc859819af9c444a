"""The reference server: enrols nodes, believes what the verifier let through, stores it, and hands out commands."""

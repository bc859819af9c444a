"""The field's worst stories, each a named test: what happened to real people, and that it does not happen here."""

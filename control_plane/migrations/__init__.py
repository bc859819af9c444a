"""The database's form, step by step; shipped, so that an installed server can bring itself up to date."""

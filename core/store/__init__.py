"""Every SQL statement, and every mapping from rows to values."""

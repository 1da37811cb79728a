"""Every SQL statement, every stream command, and every mapping from rows to values."""

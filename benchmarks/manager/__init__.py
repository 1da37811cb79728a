"""How fast the Python interface is, compared with a dictionary."""

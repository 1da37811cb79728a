"""Measures how fast the Python interface is, compared with a dictionary."""

"""Comparisons with other ways to do what Milepost does: none of it is installed, and nothing that is imports it."""

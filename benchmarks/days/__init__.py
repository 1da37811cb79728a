"""Measures what closing days and late facts cost."""

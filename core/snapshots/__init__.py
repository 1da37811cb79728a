"""Closing days: the amounts of goals at the end of each day, and what was believed when."""

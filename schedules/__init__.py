"""How often: the schedule as data."""

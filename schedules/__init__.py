"""The schedule, as data: which job runs how often, and why."""

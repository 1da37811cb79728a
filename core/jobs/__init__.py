"""Jobs, which run on a schedule: one module for each."""

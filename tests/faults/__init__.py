"""What faults do, and whether the command that makes them would notice."""

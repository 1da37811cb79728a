"""What runs by the clock, a module a job."""

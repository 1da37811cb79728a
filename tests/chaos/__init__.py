"""Chaos: a system of its own under seeded load and seeded faults, and an oracle that computes the right result."""

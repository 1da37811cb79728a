"""What may arrive, when two events are the same, and what they make of an account."""

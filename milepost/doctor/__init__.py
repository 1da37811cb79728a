"""What `milepost doctor` examines of a set-up, part by part, and what it advises."""

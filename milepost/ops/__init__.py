"""What operators look at: status, doctor and latency."""

"""What operators use: status, doctor and latency."""

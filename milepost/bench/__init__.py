"""The parts of `milepost bench` and `milepost latency`: a world of accounts and goals, its events, and stopwatches."""

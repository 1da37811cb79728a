"""The whole pipeline on real bank data: `python -m tests.berka` runs it on all of it, the tests on a slice."""

"""`python -m benchmarks`: how fast events are applied. `make bench` runs it."""

if __name__ == "__main__":
    # Not at the top: each process of a benchmark imports this module too, and its memory is measured.
    from benchmarks.pipeline.program import main

    main()

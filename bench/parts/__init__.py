"""One file for each part of the bench; each has `run(bench) -> list[Figure]`."""

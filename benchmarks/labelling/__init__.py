"""What the benchmarks of labelling share."""

"""Runs: the loop, checkpoints, logs, evaluation, results, and what is made from results."""

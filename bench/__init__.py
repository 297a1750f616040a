"""Benchmarks and the replay of real chat logs; part of the repository, not of the wheel."""

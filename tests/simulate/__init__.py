"""The simulated world: servers, network, database and people in one process, on a clock that jumps, from a seed."""

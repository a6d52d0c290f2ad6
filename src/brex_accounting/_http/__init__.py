"""HTTP: the only wing that sends requests."""

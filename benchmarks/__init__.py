"""What stands in ``docs/speed.md``, measured anew by ``python -m benchmarks``."""

"""A small registry of skills that counts with skillstat-agg, to copy from; see ../README.md."""

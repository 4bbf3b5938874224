"""For authors of adapters: stores that are broken on purpose, to try tests against."""

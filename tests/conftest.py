"""Settings for every test."""

import os

from hypothesis import settings

# Where CI is set, Hypothesis itself takes its profile "ci": derandomised, with print_blob.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "nightly",
    settings.get_profile("default"),
    max_examples=5_000,
    deadline=None,
    print_blob=True,
)
if "CI" not in os.environ:
    settings.load_profile("local")

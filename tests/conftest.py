"""Settings for every test."""

import os

from hypothesis import Phase, settings

# Where CI is set, Hypothesis itself takes its profile "ci": derandomised, with print_blob.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "nightly",
    settings.get_profile("default"),
    max_examples=5_000,
    deadline=None,
    print_blob=True,
)
# Whether a test fails is all that counts: few examples, always the same, never made smaller.
settings.register_profile(
    "mutants",
    settings.get_profile("default"),
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
if "CI" not in os.environ:
    settings.load_profile("local")

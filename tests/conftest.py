"""Settings for every test, and the server that some of them share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from tests.postgres_server import Server, running_server

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for all tests of this process; `fresh_database` has room on it."""
    with running_server(in_memory=True) as server:
        yield server

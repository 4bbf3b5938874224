"""Years of operation in seconds, on processes that are killed; `nox -s soak` takes longer."""

from __future__ import annotations

import pytest

from tests.years_soak import main, soak


def test_killed_processes_lose_and_repeat_nothing_in_years(tmp_path):
    soaked = soak(tmp_path, seconds=6.0)

    assert soaked.kills > 0
    assert soaked.events > soaked.rows > 0  # the last prune made them small


def test_bad_arguments_are_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--minutes", "many"])

    assert ended.value.code == 2
    assert "--minutes" in capsys.readouterr().err

"""Whose a folder is."""

import pytest

from icrl.experiments.planned import claim, is_of, known


def test_a_folder_in_which_nothing_was_begun_is_anybodys(tmp_path):
    file = tmp_path / "run" / "plan.json"
    for wanted in ({"a": 1}, {"a": 2}):
        claim(file, wanted, begun=False)
        assert known(file) == wanted and is_of(file, wanted)


def test_what_was_begun_stays_a_plans_own(tmp_path):
    file = tmp_path / "plan.json"
    claim(file, {"a": 1}, begun=True)
    claim(file, {"a": 1}, begun=True)
    with pytest.raises(ValueError, match="is of another plan: its a is 1, now it is 2"):
        claim(file, {"a": 2}, begun=True)
    assert known(file) == {"a": 1}

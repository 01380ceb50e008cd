"""Lines that a run prints about its data."""

import pytest

from weit_rl.workflows.data_remarks import other_data


@pytest.mark.parametrize(
    ("made_with", "data", "lines"),
    [("expert", "expert", 0), (["expert", "medium"], "medium", 0), (None, "mine", 0), ("expert", "mine", 1)],
)
def test_a_bank_used_without_a_step_says_so_for_data_that_it_never_saw(made_with, data, lines):
    found = other_data({"config": {"data": made_with}}, data)
    assert found == [f"no step is taken: this is the bank's policy, which was not trained on data={data}"] * lines

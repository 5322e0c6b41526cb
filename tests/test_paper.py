"""The paper's tables as data: what can be checked by adding up."""

import pytest

from doamlib.data.classes import SHORT_NAMES
from doamlib.paper import table


def test_table_one_counts_opixray_as_table_two_does():
    """Paper: Tables I and II."""
    datasets = table(1).set_index("dataset")
    assert list(datasets.index) == ["GDXray", "SIXray", "OPIXray"]
    assert datasets.loc["OPIXray", "positive_samples"] == 8885
    splits = table(2).set_index("split")["total_images"]
    assert splits["train"] + splits["test"] == 8885


def test_a_column_of_levels_adds_up_to_the_test_split():
    """Paper: Tables II and III."""
    levels, test = table(3), table(2).set_index("split").loc["test"]
    rows = levels[levels.iloc[:, 0].astype(str).str.startswith("OL")]
    for name in SHORT_NAMES:
        assert rows[name].sum() == test[name]


def test_there_is_no_tenth_table():
    with pytest.raises(ValueError, match="table 10: the paper's tables are numbered 1 to 9"):
        table(10)

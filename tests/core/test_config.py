"""Identity of configurations: what changes it, what must not."""

import pytest
from pydantic import ValidationError

from doamlib.core.config import Config, canonical_json, digest_of


class Old(Config):
    rate: float = 0.1


class New(Config):
    """The same configuration after somebody has added a switch whose default keeps its meaning."""

    rate: float = 0.1
    switch: bool = False


def test_a_new_switch_at_its_default_keeps_the_identity():
    assert Old(rate=0.2).digest() == New(rate=0.2).digest()


def test_every_departure_from_a_default_changes_the_identity():
    digests = {New().digest(), New(rate=0.2).digest(), New(switch=True).digest()}
    assert len(digests) == 3


def test_as_json_names_the_defaults_too():
    assert New().as_json() == '{"rate":0.1,"switch":false}'


@pytest.mark.parametrize(
    "values", [{"rate": "1e-4"}, {"rate": None}, {"rate": float("nan")}, {"raet": 0.1}]
)
def test_what_is_not_exactly_right_is_refused(values):
    with pytest.raises(ValidationError):
        Old(**values)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError):
        Old().rate = 0.3


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 1.5})


def test_json_without_nan():
    with pytest.raises(ValueError):
        canonical_json(float("nan"))

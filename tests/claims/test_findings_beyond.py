"""The sentences about false alarms, small items and few shots say what the numbers say."""

import pytest

from doamlib.claims.findings_beyond import finding, how_sure

NAN = float("nan")


def test_each_question_has_its_part():
    said = finding(
        {"SSD": 2.0, "SSD+DOAM-T": NAN},
        {"SSD+DOAM-T": {0: 1.5}, "SSD+DOAM-O": {0: -1.0, 1: 1.0}},
        {5: {0: 0.25}, 10: {}},
    )
    assert said == (
        "False alarms a harmless bag when 50% of the items are found: 2.00 with SSD, SSD+DOAM-T "
        "never finds that many; mAP gained over SSD on the smallest quarter of items minus that "
        "on the others: SSD+DOAM-T +1.50, SSD+DOAM-O +0.00 [-12.71, +12.71]; mAP gained by DOAM-T "
        "over SSD by images a class: +0.25 with 5."
    )


def test_what_was_not_measured_is_said_to_be():
    cannot = "There is no image without an item: false alarms cannot be counted; "
    assert finding(None, {}, {}).startswith(cannot)
    assert finding({}, {"SSD+DOAM-T": {}}, {}) == (
        "False alarms were not counted in these runs; what is gained on small items was not "
        "measured; the few-shot runs were not trained yet."
    )


@pytest.mark.parametrize(
    ("measured", "start"),
    [
        ({}, "It takes trained networks"),
        ({"a": {}}, "It takes trained networks"),
        ({"a": {0: 1.0}}, "One seed says nothing about chance"),
        ({"a": {0: 1.0, 1: 2.0}}, "An interval over 2 seeds"),
        ({"a": {0: 1.0}, "b": {0: 1.0, 1: 2.0}}, "An interval over 1 to 2 seeds"),
    ],
)
def test_how_sure_it_is_follows_from_the_seeds(measured, start):
    assert how_sure(measured).startswith(start)

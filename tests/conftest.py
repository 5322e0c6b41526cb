"""Shared by the tests of the house: one home folder, one smoke study, trained once a session."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, here and in what tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study

REPOSITORY = Path(__file__).parent.parent
settings.register_profile("house", deadline=None)  # a busy machine is no failure
settings.register_profile("fast", deadline=None, max_examples=15)  # make test-fast
settings.load_profile("house")


def pytest_collection_modifyitems(items):
    """Whatever asks for a home of runs trains, or waits for who does: ``make test-fast`` not."""
    for item in items:
        if "home" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home folder for the whole session: no test touches the repository's own runs."""
    folder = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("DOAM_HOME", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="session")
def smoke():
    """The parameters of params/smoke.yaml."""
    return from_file(REPOSITORY / "params" / "smoke.yaml")


@pytest.fixture(scope="session")
def study(home, smoke):
    """A study with its data generated; runs are trained by whoever asks first."""
    study = Study(smoke, report=lambda line: None)
    assert len(study.data.train) == smoke.train_images
    return study

"""What holds for every test."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_registry_of_the_user(tmp_path_factory):
    """Let no test see what whoever runs it has activated, nor write there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRCLI_REGISTRY", str(tmp_path_factory.mktemp("home") / "absent"))
        yield

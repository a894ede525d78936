"""The MLflow log keeps the contract on a tracking server, one that listens on the loopback interface."""

from __future__ import annotations

from collections.abc import Callable
from urllib.request import urlopen

import pytest

from promptopt.testing.run_log import RunLogContract, RunLogStore

MakeStore = Callable[[str, str], RunLogStore]


@pytest.mark.slow
class TestMlflowRunLogOnServer(RunLogContract):
    @pytest.fixture(autouse=True)
    def _shared_store(self, server_uri: str, make_store: MakeStore) -> None:
        self.server_uri = server_uri
        self.store = make_store(server_uri, "contract")

    def test_a_run_has_an_address_at_the_server(self) -> None:
        log = self.store.open()
        run_id = log.open_run("name", "address")
        url = log.url(run_id)
        assert url is not None
        assert url.startswith(f"{self.server_uri}/#/experiments/")
        assert url.endswith(f"/runs/{run_id}")
        with urlopen(url, timeout=10) as answer:  # noqa: S310 (http to the loopback)
            assert answer.status == 200

"""Connecting to Ray: a cluster that does not answer is told at once."""

import pytest

from cnnkit.errors import ClusterError
from cnnkit.runtime import ray_cluster


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_an_error_at_once(address, monkeypatch):
    ray = ray_cluster.import_ray()
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", address)
    expected = pytest.raises(ClusterError, match=f"could not reach the cluster at RAY_ADDRESS={address}: .*refused")
    with expected, ray_cluster.connected(ray, 2):
        pass

"""A workflow that is killed at random points ends with the results of one that was not."""

from __future__ import annotations

import pytest
from campaign import KINDS, Campaign, richer
from miniature import Miniature

pytestmark = pytest.mark.slow
KILLS = 6


def test_killed_at_random_points_it_ends_with_the_same_results(tmp_path):
    campaign = Campaign(richer(Miniature(tmp_path / "campaign")), seed=0)
    assert len(campaign.hits) >= 15
    campaign.run(KILLS)
    assert campaign.rounds >= 1
    assert dict(campaign.kinds) == dict.fromkeys(KINDS, KILLS // len(KINDS))
    assert sum(1 for count in campaign.hits.values() if count) >= 4

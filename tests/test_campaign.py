"""The campaign of kills, shortened to one of each kind; ``tests/campaign.py`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign import KINDS, Campaign, richer
from miniature import Miniature


@pytest.mark.slow
def test_a_workflow_that_is_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path: Path):
    miniature = richer(Miniature(tmp_path / "campaign"))
    experiments = miniature.config["experiments"]
    # One experiment, with what is random in the other, so that it takes half as long.
    miniature.config["experiments"] = {
        "scratch": {**experiments["tuned"], **experiments["scratch"]}
    }
    campaign = Campaign(miniature, seed=0)
    assert len(campaign.hits) >= 12, "stages that were seen at work"
    campaign.run(len(KINDS))
    assert campaign.rounds >= 1
    assert dict(campaign.kinds) == dict.fromkeys(KINDS, 1)

"""Samples: of the asked size, none twice, each as likely, the same from the same seed."""

from __future__ import annotations

import plain
import torch

from recaffe.detection.sampling import sample

CANDIDATES = torch.tensor([3, 5, 8, 13, 21, 34])


def test_few_candidates_are_all_taken_and_nothing_is_drawn():
    generator = plain.drawn()
    before = generator.get_state()
    for most in (6, 7):
        assert sample(CANDIDATES, most, generator).tolist() == CANDIDATES.tolist()
    assert torch.equal(generator.get_state(), before)


def test_of_many_each_is_as_likely_and_none_comes_twice():
    generator, counts = plain.drawn(), dict.fromkeys(CANDIDATES.tolist(), 0)
    for _ in range(600):
        found = sample(CANDIDATES, 2, generator).tolist()
        assert found == sorted(set(found))
        assert len(found) == 2
        for candidate in found:
            counts[candidate] += 1
    assert all(160 < count < 240 for count in counts.values())


def test_the_generator_says_which():
    many = torch.arange(1000)
    first, again, other = (sample(many, 10, plain.drawn(seed)).tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert sample(many, 0, plain.drawn()).tolist() == []

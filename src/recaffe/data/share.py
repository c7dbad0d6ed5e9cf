"""Which records of a source one solver reads, of several that train together."""

from __future__ import annotations

from dataclasses import dataclass

from recaffe.context import context
from recaffe.errors import DataError
from recaffe.proto.schema import TRAIN


@dataclass(frozen=True)
class Share:
    """Every ``count``-th record, from that numbered ``rank``, counted on over the epochs.

    So where ``count`` does not divide the number of records, each epoch gives a solver others.

    Source: ``DataLayer::Skip`` in ``data_layer.cpp``, and the same in ``hdf5_data_layer.cpp``.
    """

    rank: int = 0
    count: int = 1

    def of_rows(self, passed: int) -> slice:
        """Which of the next rows are read, after ``passed`` others."""
        return slice((self.rank - passed) % self.count, None, self.count)


ALL = Share()


def share_of(phase: int) -> Share:
    """What the context's solver reads: its share in phase TRAIN, in TEST everything.

    Raises:
        DataError: a rank that the count has no place for.
    """
    rank, count = context.solver_rank, context.solver_count
    if phase != TRAIN:
        return ALL
    if not 0 <= rank < count:
        raise DataError(
            f"no record is read by solver_rank {rank} where solver_count is {count}: expected a "
            "rank from 0 to below the count; call caffe.set_solver_count and set_solver_rank "
            "before making the net"
        )
    return Share(rank, count)

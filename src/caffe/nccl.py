"""caffe.NCCL, by which scripts join the solvers of several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recaffe.solver.link import Link, new_meeting

if TYPE_CHECKING:
    from caffe.solvers import Solver


class NCCL:
    """Joins a solver to those of other processes that train with it.

    Each process first says ``caffe.set_solver_count``, ``set_solver_rank`` and, on GPUs,
    ``set_device`` and ``set_mode_gpu``; then it makes its solver, ``NCCL(solver, uid)``, which
    waits for the others, and gives it to ``solver.add_callback``. From then on ``solver.step``
    updates by the mean of all gradients. They are sent together once they are all there; so
    ``net.after_backward(nccl)`` is taken, and changes nothing.

    It is NCCL on GPUs and, unlike BVLC's, works on the CPU as well, through gloo. The processes
    are those of one machine.

    Args:
        uid: what one process got of :meth:`new_uid` and told the others.

    Raises:
        CaffeError: the others do not come, or train another net.
    """

    def __init__(self, solver: Solver, uid: str) -> None:
        self._link = Link(solver._runtime, uid)
        self._is_added = False

    @staticmethod
    def new_uid() -> str:
        """A name by which the solvers find each other, for one time."""
        return new_meeting()

    def bcast(self) -> None:
        """Give every solver the parameters of rank 0; all must call it."""
        self._link.broadcast()

    def add_to(self, solver: Solver | None = None) -> None:
        """Let its solver take the mean of all gradients from now on; a second time is no other.

        Raises:
            ValueError: ``solver`` is another one.
        """
        if solver is not None and solver._runtime is not self._link.solver:
            raise ValueError("this NCCL joins another solver; make one for each")
        if not self._is_added:
            self._link.join()
            self._is_added = True

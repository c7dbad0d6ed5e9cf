"""Nets drawn from a seed, run here and in BVLC's build.

``draw`` and the modules beside it draw nets, ``run_nets`` runs them under either Caffe,
``compare`` says where the two part, and ``goldens`` keeps some of BVLC's answers in the
repository.
"""

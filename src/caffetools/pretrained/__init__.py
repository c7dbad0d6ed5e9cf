"""Published models by name: what is known of each, and their nets and solvers.

:mod:`caffetools.pretrained.registry` reads ``registry.yaml``;
:mod:`caffetools.pretrained.nets` writes the nets with NetSpec;
``python -m caffetools.pretrained`` shows both.
"""

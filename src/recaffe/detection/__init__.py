"""Faster R-CNN's numbers: boxes, anchors, suppression, and what its layers learn from.

The functions compute on the device of the tensors they are given, CPU or GPU, and no gradient goes
through them. They have the behaviour of py-faster-rcnn, by which published nets were trained.
"""

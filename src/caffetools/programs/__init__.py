"""Caffe's programs beside ``caffe`` itself, under their names, with their flags and files.

What holds for all: flags are taken with one dash or two; a mistake is told in a line, with
status 1; a result that is there already is never written over by half.
"""

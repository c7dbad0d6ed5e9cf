"""``python -m caffe``: the program ``caffe``."""

from caffe.commands.caffe import main

main()

# BVLC's Caffe 1.0 as Debian 11 packages it, for `caffe.runtime: bvlc` where `make bvlc` cannot
# be used. The packages are those that it takes, with their versions:
#   docker build -f envs/bvlc.Dockerfile -t caffe-bvlc envs
# For Apptainer: apptainer build caffe.sif docker-daemon:caffe-bvlc:latest
# docs/how-to/two-caffes.md tells what to write into the configuration.
FROM debian:bullseye-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      caffe=1.0.0+git20180821.99bd997-8+b2 \
      python3-caffe=1.0.0+git20180821.99bd997-8+b2 \
      graphviz=2.42.2-5+deb11u1 \
      python3-lmdb=1.0.0-1+b1 \
      python3-opencv=4.5.1+dfsg-5 \
      python3-plyvel=1.3.0-1+b1 \
      python3-pydot=1.4.2-1 \
      python3-tqdm=4.57.0-2 \
 && rm -rf /var/lib/apt/lists/*
ENV LC_ALL=C.UTF-8 MPLBACKEND=Agg

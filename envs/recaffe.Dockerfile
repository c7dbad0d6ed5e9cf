# The environment of all rules, as an image. From the checkout's folder:
#   docker build -f envs/recaffe.Dockerfile -t recaffe .
# For Apptainer, as clusters have it:
#   apptainer build recaffe.sif docker-daemon:recaffe:latest
# and `container: recaffe.sif` in the configuration; docs/how-to/two-caffes.md goes through it.
FROM python:3.11-slim-bookworm
COPY requirements.lock /tmp/requirements.lock
# torch comes with CUDA, in gigabytes; --build-arg INDEX=... names an index of builds without.
ARG INDEX=
RUN pip install --no-cache-dir ${INDEX:+--extra-index-url "$INDEX"} -r /tmp/requirements.lock \
 && rm /tmp/requirements.lock
COPY pyproject.toml README.md /recaffe/
COPY src /recaffe/src
RUN pip install --no-cache-dir --no-deps --no-build-isolation /recaffe

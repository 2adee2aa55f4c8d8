# syntax=docker/dockerfile:1
# The daemon: `docker build -t inference-autoscaler .`
# Two stages: what builds is left behind. Versions and hashes come from locks/daemon.txt, from whatever
# package index pip is configured with; the simulation extras (numba, scipy) are not in it.
# BASE may name a base image by its digest, python@sha256:…: it decides what is under all the hashes.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /build
RUN python -m venv /opt/autoscaler
COPY locks/daemon.txt locks/
RUN /opt/autoscaler/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-compile \
      --require-hashes --no-deps --only-binary=:all: -r locks/daemon.txt
# The daemon alone: what replays traces is no part of it. The lock holds the build backend too; it goes,
# and so does pip. The root is read-only later on: what is not compiled now would be compiled at every start.
COPY autoscaler autoscaler
COPY LICENSE ./
RUN site=$(/opt/autoscaler/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && cp -r autoscaler "$site/" \
 && cp LICENSE /opt/autoscaler/ \
 && printf '#!/opt/autoscaler/bin/python\nfrom autoscaler.cli import main\nmain()\n' > /opt/autoscaler/bin/autoscaler \
 && chmod 0755 /opt/autoscaler/bin/autoscaler \
 && /opt/autoscaler/bin/python -m pip uninstall --yes --quiet hatchling editables trove-classifiers pip \
 && /opt/autoscaler/bin/python -m compileall -q -j 0 /opt/autoscaler/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="inference-autoscaler" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/autoscaler /opt/autoscaler
ENV PATH=/opt/autoscaler/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["autoscaler"]
CMD ["--help"]

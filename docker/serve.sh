#!/bin/sh
# Entry point of the GPU image.
#
#   docker run IMAGE serve                        as SageMaker starts it; its SAGEMAKER_* variables are the settings
#   docker run IMAGE --store s3://bucket/prefix   flags alone are flags of `roundhouse serve`
#   docker run IMAGE build plans ARCHIVE          any other roundhouse command
#
# Everything is handed over by exec: the server is process 1, and gets the SIGTERM that stops a container.
set -eu

case "${1-}" in
    "" | -*) set -- roundhouse serve "$@" ;;
    *) set -- roundhouse "$@" ;;
esac

# NVIDIA's entry point checks the driver, switches CUDA's forward compatibility on where it is needed, and execs too.
nvidia="${NVIDIA_ENTRYPOINT:-/opt/nvidia/nvidia_entrypoint.sh}"
if [ -x "$nvidia" ]; then
    exec "$nvidia" "$@"
fi
exec "$@"

#!/bin/sh
# Docker's health check: 0 while /ping answers 200. SageMaker chooses the port by SAGEMAKER_BIND_TO_PORT.
set -eu

port="${ROUNDHOUSE_PORT:-${SAGEMAKER_BIND_TO_PORT:-8080}}"
exec python3 -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)" "http://127.0.0.1:$port/ping" 2>/dev/null

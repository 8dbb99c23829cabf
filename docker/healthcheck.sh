#!/bin/bash
# Health probe of the image: 200 from the admin listener of this container is healthy; the answer's body goes to
# `docker inspect`. Bash is in the image already, so no HTTP client has to be.
#
#   breakdown-health [PATH]        /health/ready by default; /health/live asks less
set -uo pipefail

path=${1:-/health/ready}
listen=${BREAKDOWN_ADMIN_LISTEN:-127.0.0.1:7100}
port=${listen##*:}

exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$path" "$port" >&3
# One second less than Docker gives the probe, so that a server that hangs is told from a probe that was killed.
read -r -t 4 _ status _ <&3 || { echo "no answer from port $port"; exit 1; }
timeout 1 sed '1,/^\r\{0,1\}$/d' <&3
[[ $status == 200 ]] || { echo "status $status"; exit 1; }

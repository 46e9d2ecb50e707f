#!/usr/bin/env bash
# Starts three servers on this machine's Docker Engine and writes pontoon.kubeconfig; with `down`, takes all of it away.
set -euo pipefail
cd "$(dirname "$0")"

compose() { docker-compose --project-name pontoon --file compose.yaml "$@"; }
pontoon() { compose exec -T server-1 /usr/local/bin/pontoon --kubeconfig /data/admin.kubeconfig "$@"; }

if [ "${1:-up}" = down ]; then
  compose down --volumes
  rm -f pontoon.kubeconfig
  exit
fi

wait_for() { # server
  for _ in $(seq 120); do
    [ "$(docker inspect --format '{{.State.Health.Status}}' "$(compose ps -q "$1")")" = healthy ] && return
    sleep 0.5
  done
  echo "$1 did not come up:" >&2
  compose logs --tail 30 "$1" >&2
  exit 1
}

compose up --detach server-1
wait_for server-1
for number in 2 3; do
  # A server that has joined ignores its token.
  declare -x "TOKEN_$number=$(pontoon cluster token create --role server)"
  compose up --detach --no-recreate "server-$number"
  wait_for "server-$number"
done
pontoon cluster status
docker cp "$(compose ps -q server-1):/data/admin.kubeconfig" pontoon.kubeconfig
sed -i 's#^    server: .*#    server: https://127.0.0.1:6443#' pontoon.kubeconfig
echo "kubectl --kubeconfig $PWD/pontoon.kubeconfig get nodes"

#!/usr/bin/env bash
# Brings up a cluster on this machine, runs the guestbook on it, changes it while it runs, and cleans up.
# Needs nothing but the pontoon binary ($PONTOON) and Debian's redis-server, python3 and curl.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
pontoon="$(realpath "${PONTOON:-pontoon}")"
data="$(mktemp -d "${TMPDIR:-/tmp}/pontoon-demo.XXXXXX")"
export KUBECONFIG="$data/admin.kubeconfig"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ pontoon %s\033[0m\n' "$*"; "$pontoon" "$@"; }
fail() { echo "demo: $*" >&2; exit 1; }

cleanup() {
  code=$?
  if [ -n "${dev:-}" ] && kill -0 "$dev" 2>/dev/null; then
    kill -INT "$dev"
    wait "$dev" || true
  fi
  [ "$code" -eq 0 ] || { echo "demo failed; the cluster said:" >&2; tail -n 40 "$data/dev.log" >&2; }
  rm -rf "$data"
  exit "$code"
}
trap cleanup EXIT

say "A cluster in one process"
"$pontoon" dev --data-dir "$data" --listen 127.0.0.1:0 >"$data/dev.log" 2>&1 &
dev=$!
timeout 60 bash -c "until [ -s '$KUBECONFIG' ] && '$pontoon' get nodes >/dev/null 2>&1; do kill -0 $dev || exit 1; sleep 0.1; done" \
  || fail "the cluster did not come up"
run get nodes -o wide

say "The guestbook goes in: one file, one transaction"
run apply -f "$here/redis.yaml"
run apply -f "$here/web.yaml"
run rollout status deployment/redis --timeout 60s
run rollout status deployment/web --timeout 60s
run get deployments,pods,services -o wide

# From inside a pod, by the service's name: DNS, service address and endpoints all have to work.
ask() { "$pontoon" exec deploy/redis -- curl --silent --show-error --fail --max-time 5 "$@" http://web.default.svc.cluster.local/; }

say "Signed and read through its service's name"
ask --data "hello from the demo"
ask | tee "$data/answer"
grep -q '^guestbook v1 on ' "$data/answer" || fail "version 1 did not answer"
grep -q '^- hello from the demo$' "$data/answer" || fail "the entry is not there"

say "Scaled from 2 to 4"
run scale deployment/web --replicas 4
run rollout status deployment/web --timeout 60s
[ "$("$pontoon" get endpoints web -o 'jsonpath={.subsets[*].addresses[*].ip}' | wc -w)" -eq 4 ] || fail "not 4 endpoints"

say "Rolled out to v2"
run patch deployment/web --patch \
  '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"GUESTBOOK_VERSION","value":"v2"}]}]}}}}'
run rollout status deployment/web --timeout 60s
ask | tee "$data/answer"
grep -q '^guestbook v2 on ' "$data/answer" || fail "version 2 did not answer"

say "Rolled back to v1, with nothing forgotten"
run rollout history deployment/web
run rollout undo deployment/web
run rollout status deployment/web --timeout 60s
ask | tee "$data/answer"
grep -q '^guestbook v1 on ' "$data/answer" || fail "version 1 did not answer after the rollback"
grep -q '^- hello from the demo$' "$data/answer" || fail "the entry was lost"

say "Done: the cluster and its pods go"

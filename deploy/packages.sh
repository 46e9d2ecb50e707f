#!/usr/bin/env bash
# Installs the Debian packages that building, testing and the demo need, if any is missing; with --bench also what is measured beside.
set -euo pipefail

packages=(
  g++ make libclang-dev             # RocksDB's bindings; the C++ itself is in the crate
  python3-venv curl                 # clients that judge the API in tests
  iproute2 nftables conntrack       # the data plane
  slirp4netns                       # outbound traffic of a cluster without root
  redis-server                      # the guestbook's database
  faketime                          # wrong clocks for servers under test
)
[ "${1:-}" != --bench ] || packages+=(etcd-server) # runs beside Pontoon
# A build that brings its own libclang needs no other.
[ -z "${BINDGEN_EXTRA_CLANG_ARGS:-}" ] || packages=("${packages[@]/libclang-dev/libclang1-14}")

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null || { echo "Pontoon builds on Debian; install these yourself: ${missing[*]}" >&2; exit 1; }
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A package's service must not start: the demo runs its own redis-server inside a pod.
install() { "${as_root[@]}" env RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" >/dev/null; }
install 2>/dev/null || { "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 update -qq && install; }

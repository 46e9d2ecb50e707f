#!/usr/bin/env bash
# Makes the container image pontoon:VERSION from a built program and the libraries it is linked to.
# PONTOON: the program [target/release/pontoon]
set -euo pipefail
cd "$(dirname "$0")"

pontoon=$(realpath "${PONTOON:-../../target/release/pontoon}")
version=$("$pontoon" version --client 2>/dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -1)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

install -D "$pontoon" "$context/root/usr/local/bin/pontoon"
strip "$context/root/usr/local/bin/pontoon"
# The dynamic loader and the libraries, under the names by which they are looked for.
ldd "$pontoon" | grep -oE '/[^ ]+' | while read -r library; do
  install -D "$library" "$context/root$library"
done
mkdir -m 1777 "$context/root/tmp"
cp Dockerfile "$context"
docker build --quiet --tag "pontoon:$version" --tag pontoon:latest "$context"

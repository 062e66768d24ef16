#!/usr/bin/env bash
# Makes a kind cluster that the tests can run on, with Istio's released images:
#
#   test/e2e/kind.sh up        cluster "serin-e2e", the sample's image loaded; prints the kubeconfig's path
#   make e2e KUBECONFIG=...    runs the tests on it; charts and images are Istio's own
#   test/e2e/kind.sh down      removes it
#
# It needs docker, kind and Go, and the internet for Istio's images and charts.
set -euo pipefail
cd "$(dirname "$0")"
name=serin-e2e
config=${TMPDIR:-/tmp}/$name.kubeconfig
for tool in docker kind go; do
  command -v "$tool" >/dev/null || { echo "kind.sh: $tool is missing" >&2; exit 1; }
done
case ${1:-} in
up)
  kind get clusters 2>/dev/null | grep -qx "$name" || kind create cluster --name "$name" --kubeconfig "$config" --wait 120s >&2
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags '-s -w' -o "$dir/app" ./cmd/app
  printf 'FROM scratch\nCOPY app /app\nENTRYPOINT ["/app"]\n' >"$dir/Dockerfile"
  docker build -q -t docker.io/serin/app:1 "$dir" >&2
  kind load docker-image docker.io/serin/app:1 --name "$name" >&2
  echo "$config"
  ;;
down)
  kind delete cluster --name "$name"
  rm -f "$config"
  ;;
*)
  echo "usage: kind.sh up|down" >&2
  exit 2
  ;;
esac

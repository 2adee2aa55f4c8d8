#!/usr/bin/env bash
# Makes the root file system of the image that the end-to-end suite runs: a Debian root with the
# project's wheel and its locked dependencies.
#
#   build-image.sh ROOTFS
#
# There is no Docker daemon on many test machines; a folder and `ctr images import` do. The Debian
# root and the dependencies are cached outside the clone, keyed by what they are made from.
# Needs root and debootstrap; PYTHON names an interpreter that has pip (default: that of .venv).
set -euo pipefail
[[ $# = 1 ]] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
rootfs=$1
python=${PYTHON:-$top/.venv/bin/python}
suite=bookworm      # its Python is 3.11, the oldest that the project supports
version=3.11
cache=${XDG_CACHE_HOME:-$HOME/.cache}/inference-autoscaler
lock=$(sha256sum "$top/locks/daemon.txt" | cut -c1-12)
base=$cache/image-root-$suite
full=$cache/image-root-$suite-$lock

if [[ ! -x $base/usr/bin/python3 ]]; then
  mkdir -p "$cache"
  rm -rf "$base" "$base.part"
  debootstrap --variant=minbase --include=python3,ca-certificates "$suite" "$base.part" >"$cache/debootstrap.log" 2>&1 ||
    { tail -n 20 "$cache/debootstrap.log" >&2; exit 1; }
  rm -rf "$base.part"/var/cache/apt/* "$base.part"/var/lib/apt/lists/* "$base.part"/usr/share/{doc,man,locale}/*
  mv "$base.part" "$base"
fi

if [[ ! -d $full/opt/autoscaler ]]; then
  rm -rf "$full" "$full.part"
  cp -a "$base" "$full.part"
  "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    --only-binary=:all: --python-version "$version" --implementation cp \
    --target "$full.part/opt/autoscaler" -r "$top/locks/daemon.txt"
  # pods have a read-only root: what is not compiled now is compiled at every start
  chroot "$full.part" /usr/bin/python3 -m compileall -q -j 0 /opt/autoscaler || true
  mv "$full.part" "$full"
fi

rm -rf "$rootfs"
cp -a "$full" "$rootfs"
wheel=$(mktemp -d)
trap 'rm -rf "$wheel"' EXIT
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w "$wheel" "$top"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
  --target "$rootfs/opt/autoscaler" "$wheel"/*.whl
chroot "$rootfs" /usr/bin/python3 -m compileall -q /opt/autoscaler/autoscaler /opt/autoscaler/simulations
printf '#!/bin/sh\nexec /usr/bin/python3 -m autoscaler.cli "$@"\n' >"$rootfs/usr/local/bin/autoscaler"
chmod +x "$rootfs/usr/local/bin/autoscaler"
# what a Dockerfile would say with ENV: the root is the image's only configuration here
echo /opt/autoscaler >"$rootfs/usr/lib/python3/dist-packages/autoscaler.pth"
grep -q autoscaler "$rootfs/etc/passwd" || echo 'autoscaler:x:65532:65532::/nonexistent:/usr/sbin/nologin' >>"$rootfs/etc/passwd"
chroot "$rootfs" /usr/bin/python3 -c 'import autoscaler, simulations, numpy, aiohttp, kubernetes_asyncio'

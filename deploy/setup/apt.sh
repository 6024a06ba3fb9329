#!/usr/bin/env bash
# Install Debian packages when this user may; started services stay off the standard ports.
# usage: deploy/setup/apt.sh PACKAGE…      exit 1: it may not, or there is no apt
set -euo pipefail
command -v apt-get >/dev/null || { echo "apt-get not found" >&2; exit 1; }
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  echo "not root and no password-free sudo: cannot install $*" >&2
  exit 1
fi
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=no
cleanup() {
  rm -f "$log"
  [ "$made_policy" = no ] || "${as_root[@]}" rm -f "$policy"
}
trap cleanup EXIT
# Debian starts a server as it is installed; tests start their own, each on its own port and folder.
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
  made_policy=yes
fi
for package in "$@"; do
  if [ "$package" = postgresql ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
done
install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >"$log" 2>&1; }
if ! install "$@"; then
  "${as_root[@]}" apt-get update >>"$log" 2>&1 || true
  install "$@" || { tail -n 20 "$log" >&2; exit 1; }
fi

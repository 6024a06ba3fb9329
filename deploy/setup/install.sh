#!/usr/bin/env bash
# Build .venv, front-end assets, the warm kernel cache and an ignored .env. Run again at any time:
# each step is skipped when its inputs have not changed.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf '\n%s\n' "$*" >&2; exit 1; }

# --- a Python 3.11 that can make a virtual environment ------------------------------------------
python=""
for candidate in "${PYTHON:-}" python3.11 python3; do
  [ -n "$candidate" ] || continue
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || fail "No Python 3.11 found. On Debian 12 type: apt-get install python3 python3-venv, or set PYTHON=/path/to/python3.11"

if [ ! -x .venv/bin/python ]; then
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    say "python3-venv (Debian's python3 comes without venv)"
    deploy/setup/apt.sh python3-venv || fail "Python's venv module is missing. As root type: apt-get install python3-venv"
  fi
  say "virtual environment"
  "$python" -m venv .venv || fail "The virtual environment could not be made. As root type: apt-get install python3-venv"
fi

# --- locked dependencies ------------------------------------------------------------------------
lock=requirements/dev.txt
stamp=.venv/.lock-$(cat "$lock" pyproject.toml | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ]; then
  say "dependencies, by hash, from $lock"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  # --no-deps: everything is locked above; --no-build-isolation: the locked setuptools builds it.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
  rm -f .venv/.lock-*
  touch "$stamp"
fi

# --- secrets ------------------------------------------------------------------------------------
.venv/bin/python deploy/setup/secrets_file.py .env
# Databases and run files lie there: sessions, password hashes, telemetry.
mkdir -p var var/static
chmod 700 var

# --- front end and kernels ----------------------------------------------------------------------
say "front end"
.venv/bin/python -m vpp.console.frontend_build
# A site that is not ours, for one test.
PYTHONPATH=.:tests .venv/bin/python -m support.foreign_site
say "kernels"
.venv/bin/python -m sites.edge.studies.warm
say "ready: .venv/bin/vpp-edge, .venv/bin/python manage.py"

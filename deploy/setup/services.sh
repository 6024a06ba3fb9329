#!/usr/bin/env bash
# Install the servers and the browser that tests use, from Debian's packages, when this user may.
# Where it may not, the tests that need them skip with a reason (or fail with VPP_REQUIRE_SERVICES=1).
set -euo pipefail
cd "$(dirname "$0")/../.."
missing=()
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
[ -x /usr/bin/chromium ] || missing+=(chromium fonts-dejavu-core)
# The browser driver's own node needs it, and Debian's smallest installation comes without.
/sbin/ldconfig -p | grep -q 'libatomic\.so\.1' || missing+=(libatomic1)
[ ${#missing[@]} -eq 0 ] && exit 0
printf '==> services for the tests: %s\n' "${missing[*]}"
if ! deploy/setup/apt.sh "${missing[@]}"; then
  echo "These could not be installed: ${missing[*]}. Tests that need them will skip and say so."
  echo "To have them, as root type: apt-get install ${missing[*]}"
fi

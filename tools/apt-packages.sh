#!/bin/sh
# apt-packages.sh NAME...: install the Debian packages that are missing, and say so.
set -eu
if ! command -v dpkg-query >/dev/null; then
    echo "Not a Debian system: make sure that these are installed: $*" >&2
    exit 0
fi
missing=
for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
echo "Installing with apt-get:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
# A package that starts a service must not do so because the tests want its program.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    made=yes
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086  # one word per package
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
[ -z "$made" ] || $sudo rm -f "$policy"

#!/bin/sh
# apt-packages.sh NAME...: install the Debian packages that are missing, and say so.
set -eu
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "No apt here: make sure that these are installed: $*" >&2
    exit 0
fi
missing=
for name in "$@"; do
    # "hold ok installed" counts as well
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q ' ok installed' ||
        missing="$missing $name"
done
[ -n "$missing" ] || exit 0
sudo=
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    if ! command -v sudo >/dev/null; then
        echo "These packages are missing; as root: apt-get install$missing" >&2
        exit 1
    fi
fi
echo "Installing with apt-get:$missing"
# A package that starts a service must not do so because the tests want its program.
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
fi
wait_for_lock='-o DPkg::Lock::Timeout=300'
# shellcheck disable=SC2086  # one word per package and option
{
    $sudo apt-get $wait_for_lock update -qq ||
        echo "apt-get update failed: trying with the package lists that are here" >&2
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get $wait_for_lock install -y -qq \
        --no-install-recommends $missing >/dev/null
}

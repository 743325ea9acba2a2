#!/bin/sh
# promtool.sh: print the path of promtool, taken once out of Debian's package `prometheus`, which is
# not installed: it would bring a service. Everything lies in build/promtool/, which may be deleted.
# A promtool in $PATH is used as it is.
set -eu
if command -v promtool; then
    exit 0
fi
root=$(cd "$(dirname "$0")/.." && pwd)
cache=$root/build/promtool
binary=$cache/promtool
if [ ! -x "$binary" ]; then
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "No apt here: install promtool (Prometheus)" >&2
        exit 1
    fi
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM HUP
    echo "Fetching promtool from Debian's package prometheus" >&2
    fetch() { (cd "$work" && apt-get download -qq prometheus >"$work/log" 2>&1); }
    # Package lists may be old: the version that they name is gone then.
    if ! fetch; then
        sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
        $sudo apt-get update -qq >/dev/null
        fetch || { cat "$work/log" >&2; exit 1; }
    fi
    dpkg-deb -x "$work"/prometheus_*.deb "$work/out"
    mv "$work/out/usr/bin/promtool" "$binary"
fi
echo "$binary"

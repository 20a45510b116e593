#!/bin/sh
# Before the files are gone. An upgrade isn't a removal: deb says "upgrade", rpm counts what remains.
set -e

case "${1:-}" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now oncesink.service || true
    fi
    ;;
esac

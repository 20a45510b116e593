# Sourced by the other scripts: a usable HOME and PATH, whoever calls.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Go, Maven and our own cache want a home that can be written to. Without one it is
# the account's, and without that a folder of this checkout.
if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6 || true)
fi
if [ -z "$HOME" ] || [ "$HOME" = / ] || ! mkdir -p "$HOME" 2>/dev/null || ! [ -w "$HOME" ]; then
    HOME=$PWD/.cache/home
    mkdir -p "$HOME"
fi
export HOME
# Java takes the account's home, whatever HOME says; Maven is to use ours.
case $HOME in
*[[:space:]]*) ;; # Maven splits its options at every space
*) export MAVEN_OPTS="${MAVEN_OPTS:+$MAVEN_OPTS }-Duser.home=$HOME" ;;
esac

for dir in /usr/local/go/bin /usr/lib/go/bin /opt/homebrew/bin; do
    case ":$PATH:" in
    *":$dir:"*) ;;
    *) if [ -d "$dir" ]; then PATH=$PATH:$dir; fi ;;
    esac
done
export PATH

# The race detector is C.
export CGO_ENABLED=1
# A checkout of somebody else's can't be stamped, and tests have no use for the stamp, nor for what a debugger
# reads, which takes a tenth of the time of a compiler and a quarter of a linker's. The same for all, so that each package is compiled once.
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false -gcflags=all=-dwarf=false -ldflags=-s"

#!/bin/sh
# smoke-factory.sh IMAGE: builds a made-up archive in the image, twice, without network, as a
# user that the image does not know, on a root file system that cannot be written.
# ENGINE=podman for another engine than docker.
set -eu
image="$1"
engine="${ENGINE:-docker}"
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
chmod 777 "$work"

inside() {
    "$engine" run --rm --network none --read-only --tmpfs /tmp --cap-drop ALL \
        --security-opt no-new-privileges --user 12345:12345 \
        -v "$work:/work" -v "$here/smoke.py:/smoke.py:ro" -v "$here/../demo:/demo:ro" "$@"
}
# The archive has a broken case on purpose: exit code 1, and a row that says so.
build() {
    code=0
    inside -v "$work/raw:/work/raw:ro" "$image" build /work/raw/own/own.yaml \
        --raw /work/raw/own --workers "$2" --out "/work/$1" || code=$?
    [ "$code" -eq 1 ] || { echo "build: expected exit code 1, found $code" >&2; exit 1; }
}

inside --entrypoint python "$image" /smoke.py made /work
build vois 2
build again 1
inside --entrypoint python "$image" /smoke.py builds /work
inside "$image" stats /work/vois
inside "$image" doctor
if inside --entrypoint touch "$image" /opt/uls-data/written 2> /dev/null; then
    echo "the root file system can be written" >&2
    exit 1
fi
echo "$image: ok"

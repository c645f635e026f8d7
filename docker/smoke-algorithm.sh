#!/bin/sh
# smoke-algorithm.sh IMAGE: a stack of three made-up VOIs in, its mask out, as the challenge runs
# it: no network, not root. The model is made first, in seconds, on lesions like these.
# ENGINE=podman for another engine than docker.
set -eu
image="$1"
engine="${ENGINE:-docker}"
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
chmod 777 "$work"

inside() {
    "$engine" run --rm --network none --read-only --cap-drop ALL \
        --security-opt no-new-privileges --user 12345:12345 "$@"
}
prepare() {
    inside --tmpfs /tmp -v "$work:/work" -v "$here/smoke.py:/smoke.py:ro" -v "$here/../demo:/demo:ro" --entrypoint "$@"
}
answer() {
    mkdir -m 777 "$work/$1"
    to="$1" input="$2"
    shift 2
    inside -v "$work/$input:/input:ro" -v "$work/$to:/output" "$@"
}

prepare python "$image" /smoke.py made /work
prepare uls-data "$image" build /work/raw/own/own.yaml --raw /work/raw/own --out /work/vois ||
    [ $? -eq 1 ] # the archive has a broken case on purpose
prepare python "$image" /smoke.py job /work
prepare uls-data "$image" train --manifest /work/vois --plan /work/plan.yaml --out /work/model

answer answer job-001/input -v "$work/model:/opt/ml/model:ro" "$image"
prepare python "$image" /smoke.py masks /work

# The same with the model in the image.
mv "$work/answer" "$work/first"
"$engine" build -q -f "$here/Dockerfile.model" --build-arg "ALGORITHM=$image" \
    -t uls-data-smoke "$work/model"
trap '"$engine" rmi uls-data-smoke > /dev/null; rm -rf "$work"' EXIT
answer answer job-001/input uls-data-smoke
cmp "$work/first/images/ct-binary-uls/job-001.mha" "$work/answer/images/ct-binary-uls/job-001.mha"

# No stack is one line and exit code 2.
mkdir "$work/none"
code=0
answer nothing none uls-data-smoke || code=$?
[ "$code" -eq 2 ] || { echo "no stack: expected exit code 2, found $code" >&2; exit 1; }
echo "$image: ok"

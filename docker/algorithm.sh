#!/bin/sh
# One job of the challenge: the one stack under /input becomes its mask under /output.
# Arguments are options of `uls-data predict`.
set -eu
input="${ULS_INPUT:-/input}"
output="${ULS_OUTPUT:-/output}"
model="${ULS_MODEL:-/opt/ml/model}"
set -- "$input"/images/stacked-3d-ct-lesion-volumes/*.mha -- "$@"
if [ "$2" != "--" ] || [ ! -f "$1" ]; then
    echo "expected one .mha in $input/images/stacked-3d-ct-lesion-volumes" >&2
    exit 2
fi
stack="$1"
shift 2
exec uls-data predict --stack "$stack" --spacings "$input/stacked-3d-volumetric-spacings.json" \
    --model "$model" --out "$output" "$@"

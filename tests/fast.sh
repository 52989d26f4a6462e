#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Every test that needs nothing but this host: builds all test programs, then runs them side by side, the long ones first.
# One line for each; what a failed one printed follows. `tests/fast.sh NAME...` runs only the programs of those names.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# warnings and errors of the compiler are text on standard error
built=$(cargo test --quiet --workspace --no-run --message-format=json-render-diagnostics) || exit 1
programs=$(sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1 \2/p' <<<"$built")
for name in "$@"; do wanted+="|/$name-"; done
[ $# -eq 0 ] || programs=$(grep -E "(${wanted#|})[0-9a-f]*\$" <<<"$programs")
[ -n "$programs" ] || { echo "no test programs found" >&2; exit 1; }

run() { # FOLDER-FOR-OUTPUT FOLDER PROGRAM
	local name out start=$EPOCHREALTIME code tests
	name=$(basename "$3"); name=${name%-*}
	out=$1/$(basename "$3")
	cd "$2" || return 1
	timeout 900 "$3" >"$out" 2>&1 </dev/null
	code=$?
	tests=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$out")
	printf '%-6s %-22s %4s tests %7.1f s\n' "$([ $code -eq 0 ] && echo ok || echo FAILED)" "$name" "${tests:-0}" \
		"$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
	[ $code -eq 0 ] || { sed "s/^/    /" "$out"; return 1; }
}
export -f run

start=$SECONDS
long='simulation|crash_points|robustness|configuration|execution|boot_dialogue|locks|round_trip|packaging|drbdadm'
{ grep -E "/($long)-" <<<"$programs"; grep -vE "/($long)-" <<<"$programs"; } |
	xargs -P "$(nproc)" -L 1 bash -c 'run "$@"' run "$folder"
code=$?
echo "$(wc -l <<<"$programs") test programs in $((SECONDS - start)) s after the build"
[ $code -eq 0 ]

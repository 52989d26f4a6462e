#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The tests in virtual machines, each as a process of its own, JOBS of them at a time (default: as many as processors, two to four),
# the long ones first. One line for each with its seconds and those of processors; what a failed one printed follows.
# `tests/vm.sh WORD...` runs those whose name contains a word. The transcripts are left out (`make test-transcripts`) unless a word names them.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
jobs=$(nproc)
[ "$jobs" -ge 2 ] || jobs=2
[ "$jobs" -le 4 ] || jobs=4
jobs=${JOBS:-$jobs}

built=$(cargo test --quiet -p drbd-tests --features vm --test vm --no-run --message-format=json-render-diagnostics) || exit 1
program=$(sed -n 's/.*"executable":"\([^"]*\/vm-[0-9a-f]*\)".*/\1/p' <<<"$built" | tail -n 1)
[ -x "$program" ] || { echo "no program of tests found" >&2; exit 1; }
names=$("$program" --list | sed -n 's/: test$//p')
if [ $# -gt 0 ]; then
	names=$(grep -F "$(printf '%s\n' "$@")" <<<"$names")
else
	names=$(grep -v '^transcripts::the_recorded' <<<"$names")
fi
[ -n "$names" ] || { echo "no test of that name" >&2; exit 1; }

run() { # FOLDER PROGRAM NAME
	local out=$1/$3 start=$EPOCHREALTIME code TIMEFORMAT='%U %S'
	{ time timeout 1500 "$2" --exact "$3" >"$out" 2>&1 </dev/null; } 2>"$out.times"
	code=$?
	grep -q '^test result: ok. 1 passed' "$out" || [ $code -ne 0 ] || code=1
	printf '%-6s %6.1f s %6.1f s  %s\n' "$([ $code -eq 0 ] && echo ok || echo FAILED)" "$(awk "BEGIN { print $EPOCHREALTIME - $start }")" \
		"$(awk '{ print $1 + $2 }' "$out.times")" "$3"
	[ $code -eq 0 ] || { sed "s/^/    /" "$out"; return 1; }
}
export -f run

start=$SECONDS
# beginnings of the names of those that take longest; those that mostly wait beside those that mostly work
long=(failures::plug_pulled matrix::recorded_decisions_rust_and_rust many::two_hundred options:: matrix::recorded_decisions_c_and_rust hostile:: unequal::
	hangs::a_helper matrix:: transcripts:: size::debug size::a_pair hangs::down fencing:: interop::a_crashed failures::a_frozen interop:: integrity:: replication::)
order() { # each line of the list, those of `long` first
	local rest=$1 word
	for word in "${long[@]}"; do
		grep "^$word" <<<"$rest"
		rest=$(grep -v "^$word" <<<"$rest")
	done
	grep . <<<"$rest" || true
}
order "$names" |
	xargs -P "$jobs" -I NAME bash -c 'run "$@"' run "$folder" "$program" NAME
code=$?
echo "$(wc -l <<<"$names") tests in virtual machines, $jobs at a time, in $((SECONDS - start)) s after the build"
[ $code -eq 0 ]

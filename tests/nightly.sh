#!/usr/bin/env bash
# `make test` under conditions that no result may hang on: the processor's instructions, the number of threads, the
# seeds of statistical tests, XLA's optimization. Takes hours; prints what failed where, and fails if anything did.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=${1:-$(mktemp -d -t bayescg-nightly-XXXXXX)}
mkdir -p "$logs"
read -r one two <<<"$(python3 -c 'import os; c = sorted(os.sched_getaffinity(0)); print(c[0], f"{c[0]},{c[-1]}")')"

run() { # name, processors, settings of the environment
    local name=$1 processors=$2 begin=$SECONDS
    shift 2
    taskset -c "$processors" env "$@" make -s test >"$logs/$name.log" 2>&1
    echo "$name $? $(((SECONDS - begin + 30) / 60)) $(tail -n 1 "$logs/$name.log")" | tee -a "$logs/table"
}

: >"$logs/table"
for instructions in SSE4_2 AVX2 native; do
    flags=${XLA_FLAGS:-}
    [ $instructions = native ] || flags="$flags --xla_cpu_max_isa=$instructions"
    run "$instructions-1-thread" "$one" XLA_FLAGS="$flags"
    run "$instructions-2-threads" "$two" XLA_FLAGS="$flags"
done
run optimized "$two" BAYESCG_TESTS_OPTIMIZED=1
for shift in 1 2 3 4 5; do
    run "seeds-$shift" "$two" BAYESCG_SEED_SHIFT=$shift
done

echo
printf '%-20s %6s %8s  %s\n' run status minutes outcome
while read -r name status minutes outcome; do
    printf '%-20s %6s %8s  %s\n' "$name" "$status" "$minutes" "$outcome"
done <"$logs/table"
echo
grep -HE '^(FAILED|ERROR) ' "$logs"/*.log | sed -E "s#^$logs/(.*)\.log:(FAILED|ERROR) ([^ ]*).*#\3 \1#" | sort |
    awk '$1 != last { if (last != "") print last ":" runs; last = $1; runs = "" } { runs = runs " " $2 }
         END { if (last != "") print last ":" runs; else print "no test failed" }'
echo "logs are in $logs"
! awk '{ print $2 }' "$logs/table" | grep -qv '^0$'

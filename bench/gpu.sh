#!/bin/bash
# The one check on a card, in a folder that bench/gpu-pack.sh made: needs the NVIDIA driver, bash and coreutils, nothing else. About
# seven minutes. Every step has a time limit of its own, and one that fails stops no other.
#
#   bash gpu.sh             writes $OUT/<date>-<card>-<commit>.txt (OUT: this folder, where it is not set): a summary, then all
#                           that the steps printed. To be filed under bench/results/.
#   bash gpu.sh --dry-run   says what would run, and whether all of it is here
#
# Environment: CONES_CUDA_LIBRARY another library (the emulated one, to try this script without a card); CONES_GPU_STEPS only steps
# whose names match this pattern; CONES_GPU_PATIENCE multiplies all limits; CONES_GPU_SEED the seed of the ops' inputs, else random.
cd "$(dirname "$0")" || exit 1
here=$PWD
OUT=${OUT:-$here}
export CONES_CUDA_LIBRARY=${CONES_CUDA_LIBRARY:-$here/cones_cuda.so}
export CONES_TEST_ALL=1 # a card needs seconds where the emulator needs minutes
patience=${CONES_GPU_PATIENCE:-1}
seed=${CONES_GPU_SEED:-$RANDOM}
# All limits together are more than the ten minutes of a call: from here on steps are left out.
most=$((540 * patience))

dry=
case "${1:-}" in
  '') ;;
  --dry-run) dry=1 ;;
  *) echo "gpu.sh [--dry-run]" >&2; exit 2 ;;
esac

commit=$(cat commit 2>/dev/null || echo unknown)
card=$(timeout 30 nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9.-')
name=$(date +%Y-%m-%d)-${card:-no-card}-$commit
# Both lie under $OUT from the start: that comes back even when the call is cut off.
summary=$OUT/$name.summary raw=$OUT/$name.raw
failed=0

say() { echo "$*" | tee -a "$summary"; }

# step NAME SECONDS COMMAND …: 0 when the command is.
step() {
  local title=$1 limit=$(($2 * patience)) begin=$SECONDS status result
  shift 2
  if [[ -n ${CONES_GPU_STEPS:-} && ! $title =~ $CONES_GPU_STEPS ]]; then return 0; fi
  if [[ -n $dry ]]; then
    printf '%-28s at most %4d s: %s\n' "$title" "$limit" "$*"
    [[ -x $1 || -n $(command -v "$1") ]] || { echo "  missing: $1"; failed=$((failed + 1)); }
    return 0
  fi
  if ((SECONDS >= most)); then say "left out $title: no time"; failed=$((failed + 1)); return 1; fi
  ((limit < most - SECONDS)) || limit=$((most - SECONDS))
  printf '\n==== %s: %s\n' "$title" "$*" >>"$raw"
  timeout -k 10 "$limit" "$@" >"$raw.step" 2>&1
  status=$?
  cat "$raw.step" >>"$raw"
  case $status in
    0) result=ok ;;
    124 | 137) result="TIMEOUT" ;;
    *) result="FAILED ($status)" ;;
  esac
  say "$(printf '%-10s %-28s %4d s' "$result" "$title" $((SECONDS - begin)))"
  # What fails says so in its first lines; what is right, in its last.
  if ((status != 0)); then
    failed=$((failed + 1))
    grep -aiE 'fail|error|invalid|racecheck' "$raw.step" | head -5 | cut -c 1-200 | sed 's/^/    /' | tee -a "$summary"
  else
    tail -1 "$raw.step" | cut -c 1-120 | sed 's/^/    /' | tee -a "$summary"
  fi
  rm -f "$raw.step"
  return $status
}

if [[ -n $dry ]]; then
  for file in commit cones_cuda.so bin/backend_test test/goldens/models/pipeline/errors.json; do
    [[ -s $file ]] || { echo "missing: $file"; failed=$((failed + 1)); }
  done
else
  mkdir -p "$OUT" && : >"$summary" && : >"$raw" || exit 1
  say "cones $commit, card ${card:-none}, $(date -u +%FT%TZ), seed $seed, $(uname -sr), $(ldd --version 2>/dev/null | head -1)"
fi

libraries() { for file in "$CONES_CUDA_LIBRARY" bin/*; do echo "$file"; ldd "$file" || return 1; done; }
export -f libraries

step 'card and driver' 30 nvidia-smi
step 'what the files need' 20 bash -c libraries
step 'ops fp16' 60 bin/backend_test --device cuda --precision fp16 --seed "$seed" --verbose
step 'ops bf16' 60 bin/backend_test --device cuda --precision bf16 --seed "$seed" --verbose
for test in bin/*_golden_test; do
  step "goldens ${test//bin\/cuda_/}" 60 "$test"
done
step 'ops timed fp16' 90 bin/backend_test --device cuda --precision fp16 --time
step 'ops timed bf16' 60 bin/backend_test --device cuda --precision bf16 --time
if [[ -n $(command -v compute-sanitizer) ]]; then
  # Slow: as far as they come in the time. The pattern is a part of the cases' names.
  for tool in memcheck racecheck; do
    for ops in linear kv_project outer attention conv2d group_norm; do
      step "$tool $ops" 20 compute-sanitizer --tool "$tool" --error-exitcode 9 bin/backend_test --device cuda "$ops"
    done
  done
else
  step 'compute-sanitizer' 1 bash -c 'echo "is not here"'
fi

if [[ -n $dry ]]; then
  ((failed == 0)) && echo 'All is here.'
  exit $((failed > 0))
fi
say "$failed failed, $SECONDS s"
{ cat "$summary"; cat "$raw"; } >"$OUT/$name.txt"
rm -f "$summary" "$raw"
echo "All of it: $OUT/$name.txt"
exit $((failed > 0))

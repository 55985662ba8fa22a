#!/bin/bash
# Prepares the folder that bench/gpu.sh runs in on a machine with a card and nothing else: the CUDA library, the tests, their
# goldens, 37 MiB. Then tries it here, away from this tree and its environment, on the emulated card.
#
#   bench/gpu-pack.sh [FOLDER]    default .cache/gpu-pack, which git ignores
#
# CONES_CUDA_ARCHITECTURES (default 90a-real: H100, H200) says for which cards; nvcc is needed, its time is some minutes.
# CONES_GPU_SKIP_TRIAL=1 leaves the trial out.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
pack=$(realpath -m "${1:-.cache/gpu-pack}")
build=$root/.cache/gpu

goldens=(clip-model-first-eos clip-model-highest-id clip-sd1 clip-sd2 pipeline search search-identifier unet-lists unet-odd
  unet-one-level unet-sd1 unet-sd2 unet-tiny vae-no-attention vae-sd1 vae-small)
tests=()
for source in test/cuda/*_golden_test.cc; do tests+=("cuda_$(basename "$source" .cc)"); done

# Its C++ library inside: the card's machine need not have one. What is left are glibc's symbols, the newest of them checked below.
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DCONES_TESTS=ON -DCONES_CUDA=ON \
  -DCONES_CUDA_ARCHITECTURES="${CONES_CUDA_ARCHITECTURES:-90a-real}" \
  -DCMAKE_EXE_LINKER_FLAGS='-static-libstdc++ -static-libgcc' -DCMAKE_SHARED_LINKER_FLAGS='-static-libstdc++ -static-libgcc' >/dev/null
cmake --build "$build" --parallel "$(nproc)" --target cones_cuda cones_cuda_emulated backend_test "${tests[@]}"

rm -rf "$pack"
mkdir -p "$pack/bin" "$pack/test/goldens/models"
cp bench/gpu.sh "$pack/"
find "$build" -name cones_cuda.so -exec cp {} "$pack/" \;
for name in backend_test "${tests[@]}"; do find "$build" -type f -name "$name" -exec cp {} "$pack/bin/" \;; done
strip "$pack"/bin/* "$pack/cones_cuda.so"
for name in "${goldens[@]}"; do cp -r "test/goldens/models/$name" "$pack/test/goldens/models/"; done
find "$pack/test" -path '*/tokenizer*' -delete
git describe --always --dirty --abbrev=7 >"$pack/commit"

size=$(du -sb "$pack" | cut -f 1)
echo "$pack: $((size / 1024)) KiB"
((size <= 60 << 20)) || { echo 'more than 60 MiB: too large to carry' >&2; exit 1; }
newest=$(objdump -T "$pack"/bin/* "$pack/cones_cuda.so" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
echo "It needs $newest or newer, and of other libraries: $(objdump -p "$pack"/bin/* "$pack/cones_cuda.so" | awk '/NEEDED/ { print $2 }' | sort -u | tr '\n' ' ')"

bash "$pack/gpu.sh" --dry-run | grep -v '^card and driver\|missing: nvidia-smi' || true
[[ -z ${CONES_GPU_SKIP_TRIAL:-} ]] || exit 0
# Without a card only the step that asks for it may fail. One precision and the quickest goldens: the rest is the C++ tests' own.
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
cp -r "$pack" "$trial/elsewhere"
(cd / && env -i PATH="$PATH" OUT="$trial" CONES_GPU_PATIENCE=20 CONES_GPU_SEED=1 CONES_GPU_STEPS='need|ops fp16|goldens (vae|clip)' \
  CONES_CUDA_LIBRARY="$(find "$build" -name cones_cuda_emulated.so)" bash "$trial/elsewhere/gpu.sh")

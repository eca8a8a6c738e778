#!/usr/bin/env bash
# Compiles the C files for this computer and for emulated boards, runs them, and
# compares what they compute with Python, bit for bit:
#   bash tflm_fg/micro/test.sh [host|BOARD|whole|budget]...
# Boards: mps2-an385 (Cortex-M3), mps2-an386 (M4), mps2-an500 (M7) and
# mps3-an547 (M55). "whole" is the shipped keyword spotter from its input on, on
# the M4. Without a name it does all. Needs gcc, Python with what the tests need,
# and for the boards arm-none-eabi-gcc and qemu-system-arm. Vectors come from
# tests/micro/write_vectors.py, or are in the folder $FG_VECTORS, where files of
# the boards are then left, too.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

readonly BOARDS="mps2-an385 mps2-an386 mps2-an500 mps3-an547"
readonly STRICT="-std=c99 -pedantic -Wall -Wextra -Werror"

# What the trainer may take: bytes of code and tables, of data, and of stack in
# one function; and the only functions of a compiler's or C library it may call.
readonly MOST_CODE=20480 MOST_DATA=0 MOST_STACK=512
readonly CALLED='memcpy|memset|memmove|memcmp|__aeabi_[a-z0-9]*|__clzsi2'

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
vectors=${FG_VECTORS:-$tmp}

fail() {
  echo "$1" >&2
  exit 1
}

cpu_of() {
  case $1 in
    mps2-an385) echo cortex-m3 ;;
    mps2-an386) echo cortex-m4 ;;
    mps2-an500) echo cortex-m7 ;;
    mps3-an547) echo cortex-m55 ;;
    *) fail "$1: no board of this name; choose host, budget, whole, or one of $BOARDS" ;;
  esac
}

# The C files but that of Python's extension.
sources() {
  grep -L 'Python\.h' "$root"/tflm_fg/micro/*.c
}

find_vectors() {
  [ -f "$vectors/vectors.h" ] || python -m tests.micro.write_vectors "$vectors"
}

run_host() {
  # shellcheck disable=SC2046
  gcc $STRICT -g -O1 -fsanitize=undefined,address -fno-sanitize-recover=all \
    -Itflm_fg/micro -Itests/micro/boards -I"$vectors" tests/micro/check.c \
    tests/micro/boards/{numbers,stdio_host}.c $(sources) -o "$tmp/host"
  (cd "$tmp" && ./host)
}

# A board, and the folder of its vectors.
run_board() {
  local boards=tests/micro/boards cpu timer=() memory=mps3
  cpu=$(cpu_of "$1")
  case $1 in
    mps2-*) memory=mps2 timer=(-DBOARD_TIMER=0x40000000u) ;;
  esac
  # shellcheck disable=SC2046
  arm-none-eabi-gcc -mcpu="$cpu" -mthumb -mfloat-abi=soft -O2 -std=gnu99 -Wall \
    -Wextra -Werror -ffreestanding "${timer[@]}" -Itflm_fg/micro -I$boards \
    -I"$2" -nostdlib -L$boards -T"memory_$memory.ld" \
    $boards/{startup,semihosting,numbers,strings}.c tests/micro/check.c \
    $(sources) -lgcc -o "$tmp/$1.elf"
  # QEMU's console is its stderr. A program's status is its own.
  (cd "$2" && timeout "${FG_SECONDS:-300}" qemu-system-arm -M "$1" \
    -display none -monitor none -serial none -icount shift=0 \
    -semihosting-config enable=on,target=native -kernel "$tmp/$1.elf" 2>&1 \
    </dev/null)
}

# Size, stack and calls of the trainer on each core, and whether they are within
# the budget.
check_budget() {
  local board cpu text data bss rest stack called
  for board in $BOARDS; do
    cpu=$(cpu_of "$board")
    mkdir "$tmp/$cpu"
    # shellcheck disable=SC2046
    (cd "$tmp/$cpu" && arm-none-eabi-gcc -mcpu="$cpu" -mthumb \
      -mfloat-abi=soft -ffreestanding -Os $STRICT -fstack-usage -c \
      $(sources))
    arm-none-eabi-ld -r "$tmp/$cpu"/*.o -o "$tmp/$cpu/all"
    read -r text data bss rest < <(arm-none-eabi-size "$tmp/$cpu/all" | tail -1)
    stack=$(cut -f2 "$tmp/$cpu"/*.su | sort -n | tail -1)
    called=$(arm-none-eabi-nm -u "$tmp/$cpu/all" | awk '{print $2}' | tr '\n' ' ')
    echo "$cpu: $text bytes of code and tables (-Os), $data of data, $bss of" \
      "bss, at most $stack of stack in a function; calls $called"
    ((text <= MOST_CODE)) || fail "$cpu: $text bytes of code, at most $MOST_CODE"
    ((data + bss <= MOST_DATA)) || fail "$cpu: $data + $bss bytes of data, need $MOST_DATA"
    ((stack <= MOST_STACK)) || fail "$cpu: $stack bytes of stack, at most $MOST_STACK"
    ! grep -q dynamic "$tmp/$cpu"/*.su || fail "$cpu: a stack that is not bounded"
    ! tr ' ' '\n' <<<"$called" | grep -vxE "$CALLED|" || fail "$cpu: calls what it must not"
  done
}

[ $# -gt 0 ] || set -- budget host $BOARDS whole
find_vectors
for name; do
  case $name in
    budget) check_budget ;;
    host) echo "host:" && run_host ;;
    whole) echo "whole:" && run_board mps2-an386 "$vectors/whole" ;;
    *) echo "$name ($(cpu_of "$name")):" && run_board "$name" "$vectors" ;;
  esac
done

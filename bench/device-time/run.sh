#!/usr/bin/env bash
# Instructions of a million float operations on a Cortex-M4, by software and with the FPU.
# Needs Debian's gcc-arm-none-eabi and qemu-system-arm.
set -euo pipefail

cd "$(dirname "$0")"
for program in arm-none-eabi-gcc qemu-system-arm; do
    command -v "$program" >/dev/null || {
        printf '%s is missing: apt-get install gcc-arm-none-eabi qemu-system-arm\n' "$program" >&2
        exit 1
    }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for abi in soft hard; do
    arm-none-eabi-gcc -Os -mcpu=cortex-m4 -mthumb "-mfloat-abi=$abi" -mfpu=fpv4-sp-d16 \
        -ffreestanding -nostartfiles -nostdlib -T float.ld float.c -lgcc -o "$folder/$abi.elf"
    printf '%s\n' "$abi"
    timeout 120 qemu-system-arm -M mps2-an386 -icount shift=7 -display none -nodefaults \
        -no-reboot -net none -serial stdio -kernel "$folder/$abi.elf" </dev/null
done

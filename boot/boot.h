// SPDX-License-Identifier: BSD-2-Clause
// boot.h: what our loaders share. They are small programs of their own, which end where the kernel begins: the kernel is the
// same file whoever loads it.
//
//   bios/   MBR and stage 2: reads the disk by INT 13h                     x86-64, 32-bit code
//   efi/    an EFI application: reads the system partition by the firmware   x86-64, aarch64
//   pvh.c   kernel file and start information for both                      x86-64
//
// The code runs where it was put, without relocation: no pointer may stand in initialised data.
#pragma once

#pragma GCC visibility push(hidden)

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "boot/record.h"

#define PAGE 4096u
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define ROUND_UP(n, unit) (((n) + (unit)-1) / (unit) * (unit))

// ---- the loader's main file: says why it cannot go on, and ends.
void fail(const char *why) __attribute__((noreturn));

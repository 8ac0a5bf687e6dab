/* For x86-64 processors with AVX2 and FMA; chosen when the program runs. */

#include "lora.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define W 8
#define NAME(x) lora_avx2_##x
#include "lora_simd.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

/* For x86-64 processors with AVX-512; chosen when the program runs. */

#include "lora.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,fma")
#endif

#define W 16
#define NAME(x) lora_avx512_##x
#include "lora_simd.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

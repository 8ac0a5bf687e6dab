/* For any processor: SSE2, NEON, or whatever the compiler makes of four lanes. */

#include "lora.h"

#define W 4
#define NAME(x) lora_portable_##x
#include "lora_simd.h"

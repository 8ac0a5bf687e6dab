/* What the variants of the numerics share: their arguments and their table of functions. */

#ifndef LORABANK_LORA_H
#define LORABANK_LORA_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if !defined(__GNUC__)
#error "needs the vector extensions of GCC or Clang"
#endif

#define ALWAYS inline __attribute__((always_inline))

/* y = x + scale * B (A x); A (r, d), B (d, r). */
typedef struct {
    const float *A, *B;
    float scale;
    size_t d;
    int r;
} Adapter;

/* X, T (n, d); w (n) or NULL for ones; energy = sum w |x|^2. */
typedef struct {
    const float *X, *T, *w;
    size_t n;
    double energy;
} Batch;

/* Memory that one call works in: H, U (n, r); E (n, d); Bt, Ga, Gt (r, d). */
typedef struct {
    float *H, *U, *E, *Bt, *Ga, *Gt;
} Scratch;

typedef struct {
    int (*forward)(const Adapter *, const float *X, size_t n, float *Y, const Scratch *);
    int (*forward_far)(const Adapter *, const float *x, float *y, const Scratch *);
    void (*mse_sums)(
        const float *X, const float *T, const float *w, size_t n, size_t d, double *sums);
    void (*mse_loss)(const Adapter *, const Batch *, const Scratch *, double *errors);
    double (*mse_gradient)(
        const Adapter *, const Batch *, const Scratch *, float *dA, float *dB, double *errors);
    double (*mse_update)(
        const Adapter *, const Batch *, const Scratch *, double rate, double clip, float *A,
        float *B, double *errors);
} Variant;

extern const Variant lora_portable_variant;
#if defined(__x86_64__)
extern const Variant lora_avx2_variant;
extern const Variant lora_avx512_variant;
#endif

static inline int all_finite(const float *values, size_t count)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, 4);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

#endif

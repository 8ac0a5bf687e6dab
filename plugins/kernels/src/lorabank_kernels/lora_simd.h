/* The numerics of one adapter, written once and compiled once per instruction set.
 *
 * The including file defines W, the float lanes of a vector (4, 8 or 16), and NAME(x), which gives
 * each variant names of its own. Only plain IEEE arithmetic is asked for: sums are taken in W
 * lanes, so they may differ from another variant's in the last bits, and from nothing else.
 *
 * Shapes: A (r, d), B (d, r), X and T (n, d), all row-major and without gaps. "m" below is how many
 * lanes of a vector exist in memory: nothing is read or written beyond the last element.
 */

typedef float NAME(vec) __attribute__((vector_size(4 * W), aligned(4), may_alias));
#define VEC NAME(vec)

#if W == 16
#define EVEN(a, b) \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b) \
    __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define ZIP_LOW(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif W == 8
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

static ALWAYS VEC NAME(load)(const float *p, size_t m)
{
    if (m == W)
        return *(const VEC *)p;
    VEC v = {0};
    memcpy(&v, p, 4 * m);
    return v;
}

static ALWAYS void NAME(store)(float *p, VEC v, size_t m)
{
    if (m == W)
        *(VEC *)p = v;
    else
        memcpy(p, &v, 4 * m);
}

/* `store` of W lanes at a whole multiple of their size, past the caches where that is possible. */
static ALWAYS void NAME(stream)(float *p, VEC v)
{
#if W == 16
    _mm512_stream_ps(p, (__m512)v);
#elif W == 8
    _mm256_stream_ps(p, (__m256)v);
#else
    *(VEC *)p = v;
#endif
}

/* ---- sums across lanes ------------------------------------------------------------------- */

/* `count` vectors (a power of two, at most W), each the partial sums of one or more neighbours:
 * adds neighbouring lanes log2(count) times. Of W vectors it leaves their W sums, in order. */
static ALWAYS VEC NAME(fold)(VEC *t, int count)
{
#pragma GCC unroll 5
    for (int left = count; left > 1; left /= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < left / 2; i++)
            t[i] = EVEN(t[2 * i], t[2 * i + 1]) + ODD(t[2 * i], t[2 * i + 1]);
    }
    return t[0];
}

static ALWAYS float NAME(sum)(VEC v)
{
#pragma GCC unroll 4
    for (int lanes = W; lanes > 1; lanes /= 2)
        v = EVEN(v, v) + ODD(v, v);
    return v[0];
}

/* Lanes that hold the sum of a times b over d elements, four chains at a time. */
static ALWAYS VEC NAME(products)(const float *a, const float *b, size_t d)
{
    VEC s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    size_t j = 0;
    for (; j + 4 * W <= d; j += 4 * W) {
        s0 += NAME(load)(a + j, W) * NAME(load)(b + j, W);
        s1 += NAME(load)(a + j + W, W) * NAME(load)(b + j + W, W);
        s2 += NAME(load)(a + j + 2 * W, W) * NAME(load)(b + j + 2 * W, W);
        s3 += NAME(load)(a + j + 3 * W, W) * NAME(load)(b + j + 3 * W, W);
    }
    for (; j + W <= d; j += W)
        s0 += NAME(load)(a + j, W) * NAME(load)(b + j, W);
    if (j < d)
        s1 += NAME(load)(a + j, d - j) * NAME(load)(b + j, d - j);
    return (s0 + s1) + (s2 + s3);
}

/* ---- one vector: the block is read once, row by row -------------------------------------- */

/* h = A x. Rows of A one after the other: in cache, four at once are a sixth faster, but from
 * memory they take half as long again, and adapters of many users come from memory. */
static ALWAYS void NAME(hidden_of)(const float *A, const float *x, size_t d, int r, float *h)
{
    int k = 0;
    for (; k + 4 <= r; k += 4) {
        VEC t[4];
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++)
            t[q] = NAME(products)(A + (k + q) * d, x, d);
        VEC sums = NAME(fold)(t, 4);
#pragma GCC unroll 2
        for (int lanes = W; lanes > 4; lanes /= 2)
            sums = EVEN(sums, sums) + ODD(sums, sums);
        memcpy(h + k, &sums, 16);
    }
    for (; k < r; k++)
        h[k] = NAME(sum)(NAME(products)(A + k * d, x, d));
}

/* y = x + B h, with h scaled already; `rank` and `far` are constants wherever it is inlined. W rows
 * of B are `rank` vectors, multiplied as they stand in memory and then folded into W sums. */
static ALWAYS void NAME(expand_rank)(
    const float *B, const float *h, const float *x, float *y, size_t d, const int rank,
    const int far)
{
    enum { MOST = 4 };
    const int parts = rank > W ? rank / W : 1;
    VEC hv[MOST];
#pragma GCC unroll 4
    for (int p = 0; p < parts; p++)
#pragma GCC unroll 16
        for (int lane = 0; lane < W; lane++)
            hv[p][lane] = h[rank > W ? p * W + lane : lane % rank];
    size_t j = 0;
    for (; j + W <= d; j += W) {
        const float *rows = B + j * rank;
        VEC t[W];
        const int count = rank > W ? W : rank;
#pragma GCC unroll 16
        for (int q = 0; q < count; q++) {
            t[q] = NAME(load)(rows + q * parts * W, W) * hv[0];
#pragma GCC unroll 3
            for (int p = 1; p < parts; p++)
                t[q] += NAME(load)(rows + (q * parts + p) * W, W) * hv[p];
        }
        const VEC sums = NAME(load)(x + j, W) + NAME(fold)(t, count);
        if (far)
            NAME(stream)(y + j, sums);
        else
            NAME(store)(y + j, sums, W);
    }
    for (; j < d; j++) {
        float sum = 0.0f;
        for (int k = 0; k < rank; k++)
            sum += B[j * rank + k] * h[k];
        y[j] = x[j] + sum;
    }
}

static ALWAYS void NAME(expand_any)(
    const float *B, const float *h, const float *x, float *y, size_t d, int r)
{
    for (size_t j = 0; j < d; j++) {
        float sum = 0.0f;
        for (int k = 0; k < r; k++)
            sum += B[j * r + k] * h[k];
        y[j] = x[j] + sum;
    }
}

static ALWAYS void NAME(expand_of)(
    const float *B, const float *h, const float *x, float *y, size_t d, int r, const int far)
{
    switch (r) {
    case 1: NAME(expand_rank)(B, h, x, y, d, 1, far); break;
    case 2: NAME(expand_rank)(B, h, x, y, d, 2, far); break;
    case 4: NAME(expand_rank)(B, h, x, y, d, 4, far); break;
    case 8: NAME(expand_rank)(B, h, x, y, d, 8, far); break;
    case 16: NAME(expand_rank)(B, h, x, y, d, 16, far); break;
    default: NAME(expand_any)(B, h, x, y, d, r);
    }
}

/* Whether every h is finite. A is finite, so this is so only if every x is: what is infinite or no
 * number in x makes every sum that it enters infinite or no number. */
static ALWAYS int NAME(forward_one)(
    const float *A, const float *B, float s, const float *x, float *y, size_t d, int r, float *h,
    const int far)
{
    NAME(hidden_of)(A, x, d, r, h);
    if (!all_finite(h, r))
        return 0;
    for (int k = 0; k < r; k++)
        h[k] *= s;
    NAME(expand_of)(B, h, x, y, d, r, far);
    return 1;
}

/* ---- (d, r) to (r, d) and back ----------------------------------------------------------- */

/* A vector of W rows by `rank` columns is W * rank numbers in a row; taking every second number
 * log2(rank) times leaves them column by column. */
static ALWAYS void NAME(columns_of)(
    const float *B, float *Bt, size_t stride, size_t d, const int rank)
{
    size_t j = 0;
    for (; j + W <= d; j += W) {
        VEC v[W], u[W];
#pragma GCC unroll 16
        for (int k = 0; k < rank; k++)
            v[k] = NAME(load)(B + j * rank + k * W, W);
#pragma GCC unroll 4
        for (int left = rank; left > 1; left /= 2) {
#pragma GCC unroll 8
            for (int i = 0; i < rank / 2; i++) {
                u[i] = EVEN(v[2 * i], v[2 * i + 1]);
                u[rank / 2 + i] = ODD(v[2 * i], v[2 * i + 1]);
            }
#pragma GCC unroll 16
            for (int i = 0; i < rank; i++)
                v[i] = u[i];
        }
#pragma GCC unroll 16
        for (int k = 0; k < rank; k++)
            NAME(store)(Bt + k * stride + j, v[k], W);
    }
    for (; j < d; j++)
        for (int k = 0; k < rank; k++)
            Bt[k * stride + j] = B[j * rank + k];
}

static ALWAYS void NAME(transpose)(const float *B, float *Bt, size_t stride, size_t d, int r)
{
    switch (r) {
    case 4: NAME(columns_of)(B, Bt, stride, d, 4); return;
#if W >= 8
    case 8: NAME(columns_of)(B, Bt, stride, d, 8); return;
#endif
#if W >= 16
    case 16: NAME(columns_of)(B, Bt, stride, d, 16); return;
#endif
    default:
        for (size_t j = 0; j < d; j++)
            for (int k = 0; k < r; k++)
                Bt[k * stride + j] = B[j * r + k];
    }
}

/* out (d, r) = B + eta * transposed (r, d). */
static ALWAYS void NAME(add_columns)(
    const float *B, const float *Gt, size_t stride, float eta, float *out, size_t d, const int rank)
{
    size_t j = 0;
    for (; j + W <= d; j += W) {
        VEC v[W], u[W];
#pragma GCC unroll 16
        for (int k = 0; k < rank; k++)
            v[k] = NAME(load)(Gt + k * stride + j, W);
#pragma GCC unroll 4
        for (int left = rank; left > 1; left /= 2) {
#pragma GCC unroll 8
            for (int i = 0; i < rank / 2; i++) {
                u[2 * i] = ZIP_LOW(v[i], v[rank / 2 + i]);
                u[2 * i + 1] = ZIP_HIGH(v[i], v[rank / 2 + i]);
            }
#pragma GCC unroll 16
            for (int i = 0; i < rank; i++)
                v[i] = u[i];
        }
#pragma GCC unroll 16
        for (int k = 0; k < rank; k++) {
            const size_t at = j * rank + k * W;
            NAME(store)(out + at, NAME(load)(B + at, W) + eta * v[k], W);
        }
    }
    for (; j < d; j++)
        for (int k = 0; k < rank; k++)
            out[j * rank + k] = B[j * rank + k] + eta * Gt[k * stride + j];
}

static ALWAYS void NAME(add_transposed)(
    const float *B, const float *Gt, size_t stride, float eta, float *out, size_t d, int r)
{
    switch (r) {
    case 4: NAME(add_columns)(B, Gt, stride, eta, out, d, 4); return;
#if W >= 8
    case 8: NAME(add_columns)(B, Gt, stride, eta, out, d, 8); return;
#endif
#if W >= 16
    case 16: NAME(add_columns)(B, Gt, stride, eta, out, d, 16); return;
#endif
    default:
        for (size_t j = 0; j < d; j++)
            for (int k = 0; k < r; k++)
                out[j * r + k] = B[j * r + k] + eta * Gt[k * stride + j];
    }
}

/* ---- batches: register tiles ------------------------------------------------------------- */

/* acc[4 p + q] += M[q] * X[p] over the m columns from j on, for 4 rows of M and W / 4 of X. */
static ALWAYS void NAME(dots_step)(
    VEC *acc, const float *M, size_t stride, const float *X, size_t d, size_t j, size_t m)
{
    VEC a[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++)
        a[q] = NAME(load)(M + q * stride + j, m);
#pragma GCC unroll 4
    for (int p = 0; p < W / 4; p++) {
        const VEC x = NAME(load)(X + p * d + j, m);
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++)
            acc[4 * p + q] += a[q] * x;
    }
}

/* H (n, r) = X M^T for M (r, d) with rows `stride` apart; tiles of W dot products, folded at once. */
static void NAME(dots)(
    const float *M, size_t stride, const float *X, size_t n, size_t d, int r, float *H)
{
    size_t i = 0;
    for (; i + W / 4 <= n; i += W / 4) {
        int k = 0;
        for (; k + 4 <= r; k += 4) {
            VEC acc[W];
#pragma GCC unroll 16
            for (int q = 0; q < W; q++)
                acc[q] = (VEC){0};
            size_t j = 0;
            for (; j + W <= d; j += W)
                NAME(dots_step)(acc, M + k * stride, stride, X + i * d, d, j, W);
            if (j < d)
                NAME(dots_step)(acc, M + k * stride, stride, X + i * d, d, j, d - j);
            const VEC sums = NAME(fold)(acc, W);
#pragma GCC unroll 4
            for (int p = 0; p < W / 4; p++)
                memcpy(H + (i + p) * r + k, (const float *)&sums + 4 * p, 16);
        }
        for (; k < r; k++)
            for (int p = 0; p < W / 4; p++)
                H[(i + p) * r + k] = NAME(sum)(NAME(products)(M + k * stride, X + (i + p) * d, d));
    }
    for (; i < n; i++)
        for (int k = 0; k < r; k++)
            H[i * r + k] = NAME(sum)(NAME(products)(M + k * stride, X + i * d, d));
}

/* Columns j .. of `rows` rows of Y = X + H Bt, `wide` vectors of which the last has m lanes. */
static ALWAYS void NAME(expand_tile)(
    const float *Bt, size_t stride, const float *H, const float *X, float *Y, size_t d, int r,
    size_t j, const int rows, const int wide, size_t m)
{
    VEC y[4][2];
#pragma GCC unroll 4
    for (int p = 0; p < rows; p++)
#pragma GCC unroll 2
        for (int q = 0; q < wide; q++)
            y[p][q] = NAME(load)(X + p * d + j + q * W, m);
    for (int k = 0; k < r; k++) {
        VEC b[2];
#pragma GCC unroll 2
        for (int q = 0; q < wide; q++)
            b[q] = NAME(load)(Bt + k * stride + j + q * W, m);
#pragma GCC unroll 4
        for (int p = 0; p < rows; p++)
#pragma GCC unroll 2
            for (int q = 0; q < wide; q++)
                y[p][q] += H[p * r + k] * b[q];
    }
#pragma GCC unroll 4
    for (int p = 0; p < rows; p++)
#pragma GCC unroll 2
        for (int q = 0; q < wide; q++)
            NAME(store)(Y + p * d + j + q * W, y[p][q], m);
}

static ALWAYS void NAME(expand_rows)(
    const float *Bt, size_t stride, const float *H, const float *X, float *Y, size_t d, int r,
    const int rows)
{
    size_t j = 0;
    for (; j + 2 * W <= d; j += 2 * W)
        NAME(expand_tile)(Bt, stride, H, X, Y, d, r, j, rows, 2, W);
    for (; j + W <= d; j += W)
        NAME(expand_tile)(Bt, stride, H, X, Y, d, r, j, rows, 1, W);
    if (j < d)
        NAME(expand_tile)(Bt, stride, H, X, Y, d, r, j, rows, 1, d - j);
}

/* Y = X + H Bt, with H (n, r) scaled already and Bt (r, d). */
static void NAME(expand)(
    const float *Bt, size_t stride, const float *H, const float *X, float *Y, size_t n, size_t d,
    int r)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        NAME(expand_rows)(Bt, stride, H + i * r, X + i * d, Y + i * d, d, r, 4);
    for (; i < n; i++)
        NAME(expand_rows)(Bt, stride, H + i * r, X + i * d, Y + i * d, d, r, 1);
}

/* Rows k .. of O (r, d) = G^T V for G (n, r), V (n, d); returns the squares' partial sums. */
static ALWAYS VEC NAME(outer_tile)(
    const float *G, const float *V, size_t n, size_t d, int r, float *O, size_t stride, size_t j,
    const int rows, const int wide, size_t m)
{
    VEC acc[4][2], squares = {0};
#pragma GCC unroll 4
    for (int p = 0; p < rows; p++)
#pragma GCC unroll 2
        for (int q = 0; q < wide; q++)
            acc[p][q] = (VEC){0};
    for (size_t i = 0; i < n; i++) {
        VEC v[2];
#pragma GCC unroll 2
        for (int q = 0; q < wide; q++)
            v[q] = NAME(load)(V + i * d + j + q * W, m);
#pragma GCC unroll 4
        for (int p = 0; p < rows; p++)
#pragma GCC unroll 2
            for (int q = 0; q < wide; q++)
                acc[p][q] += G[i * r + p] * v[q];
    }
#pragma GCC unroll 4
    for (int p = 0; p < rows; p++)
#pragma GCC unroll 2
        for (int q = 0; q < wide; q++) {
            NAME(store)(O + p * stride + j + q * W, acc[p][q], m);
            squares += acc[p][q] * acc[p][q];
        }
    return squares;
}

static ALWAYS VEC NAME(outer_rows)(
    const float *G, const float *V, size_t n, size_t d, int r, float *O, size_t stride,
    const int rows)
{
    VEC squares = {0};
    size_t j = 0;
    for (; j + 2 * W <= d; j += 2 * W)
        squares += NAME(outer_tile)(G, V, n, d, r, O, stride, j, rows, 2, W);
    for (; j + W <= d; j += W)
        squares += NAME(outer_tile)(G, V, n, d, r, O, stride, j, rows, 1, W);
    if (j < d)
        squares += NAME(outer_tile)(G, V, n, d, r, O, stride, j, rows, 1, d - j);
    return squares;
}

/* O (r, d) = G^T V; returns the sum of its squares. */
static double NAME(outer)(
    const float *G, const float *V, size_t n, size_t d, int r, float *O, size_t stride)
{
    double total = 0.0;
    int k = 0;
    for (; k + 4 <= r; k += 4)
        total += NAME(sum)(NAME(outer_rows)(G + k, V, n, d, r, O + k * stride, stride, 4));
    for (; k < r; k++)
        total += NAME(sum)(NAME(outer_rows)(G + k, V, n, d, r, O + k * stride, stride, 1));
    return total;
}

/* ---- the objective ----------------------------------------------------------------------- */

/* Sum of (y - t)^2 of one row; the difference replaces y if `keep`. */
static ALWAYS float NAME(subtract)(const float *y, const float *t, float *e, size_t d, const int keep)
{
    VEC squares = {0};
    size_t j = 0;
    for (; j + W <= d; j += W) {
        const VEC v = NAME(load)(y + j, W) - NAME(load)(t + j, W);
        squares += v * v;
        if (keep)
            NAME(store)(e + j, v, W);
    }
    if (j < d) {
        const VEC v = NAME(load)(y + j, d - j) - NAME(load)(t + j, d - j);
        squares += v * v;
        if (keep)
            NAME(store)(e + j, v, d - j);
    }
    return NAME(sum)(squares);
}

/* sums[0] = sum w |x|^2, and sums[1] = sum w |x - t|^2 if there is a T. */
static void NAME(mse_sums)(
    const float *X, const float *T, const float *w, size_t n, size_t d, double *sums)
{
    sums[0] = sums[1] = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double weight = w ? w[i] : 1.0;
        sums[0] += weight * NAME(sum)(NAME(products)(X + i * d, X + i * d, d));
        if (T)
            sums[1] += weight * NAME(subtract)(X + i * d, T + i * d, NULL, d, 0);
    }
}

/* H (n, r) = s X A^T and E (n, d) = X + H B^T - T, with B transposed into Bt.
 * errors[0] = sum w |e|^2, errors[1] = sum |e|^2 */
static void NAME(residuals)(
    const Adapter *m, const Batch *b, const Scratch *t, const int keep, double *errors)
{
    const size_t n = b->n, d = m->d;
    NAME(dots)(m->A, d, b->X, n, d, m->r, t->H);
    for (size_t i = 0; i < n * m->r; i++)
        t->H[i] *= m->scale;
    NAME(transpose)(m->B, t->Bt, d, d, m->r);
    NAME(expand)(t->Bt, d, t->H, b->X, t->E, n, d, m->r);
    errors[0] = errors[1] = 0.0;
    for (size_t i = 0; i < n; i++) {
        float *e = t->E + i * d;
        const double error = NAME(subtract)(e, b->T + i * d, e, d, keep);
        errors[0] += (b->w ? b->w[i] : 1.0) * error;
        errors[1] += error;
    }
}

static void NAME(mse_loss)(const Adapter *m, const Batch *b, const Scratch *t, double *errors)
{
    NAME(residuals)(m, b, t, 0, errors);
}

/* dA (r, d) and the transpose of dB (r, d), of sum w |e|^2 / energy; returns their joint norm. */
static double NAME(mse_slopes)(
    const Adapter *m, const Batch *b, const Scratch *t, float *dA, float *dBt, double *errors)
{
    const size_t n = b->n, d = m->d;
    const int r = m->r;
    NAME(residuals)(m, b, t, 1, errors);
    NAME(dots)(t->Bt, d, t->E, n, d, r, t->U);
    for (size_t i = 0; i < n; i++) {
        const float c = (float)(2.0 * (b->w ? b->w[i] : 1.0) / b->energy);
        for (int k = 0; k < r; k++) {
            t->H[i * r + k] *= c;
            t->U[i * r + k] *= c * m->scale;
        }
    }
    const double squares = NAME(outer)(t->U, b->X, n, d, r, dA, d);
    return sqrt(squares + NAME(outer)(t->H, t->E, n, d, r, dBt, d));
}

static double NAME(mse_gradient)(
    const Adapter *m, const Batch *b, const Scratch *t, float *dA, float *dB, double *errors)
{
    const double norm = NAME(mse_slopes)(m, b, t, dA, t->Gt, errors);
    for (size_t j = 0; j < m->d; j++)
        for (int k = 0; k < m->r; k++)
            dB[j * m->r + k] = t->Gt[k * m->d + j];
    return norm;
}

/* u = B^T e and B' = B + e h^T, where a row of B is one vector of R lanes. */
#define ROWS_OF(R) \
    typedef float NAME(row##R) __attribute__((vector_size(4 * R), aligned(4), may_alias)); \
    static ALWAYS void NAME(gather##R)(const float *B, const float *e, size_t d, float *u) \
    { \
        const NAME(row##R) *rows = (const NAME(row##R) *)B; \
        NAME(row##R) s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}; \
        size_t j = 0; \
        for (; j + 4 <= d; j += 4) { \
            s0 += e[j] * rows[j]; \
            s1 += e[j + 1] * rows[j + 1]; \
            s2 += e[j + 2] * rows[j + 2]; \
            s3 += e[j + 3] * rows[j + 3]; \
        } \
        for (; j < d; j++) \
            s0 += e[j] * rows[j]; \
        s0 = (s0 + s1) + (s2 + s3); \
        memcpy(u, &s0, sizeof s0); \
    } \
    static ALWAYS void NAME(spread##R)( \
        const float *B, const float *e, const float *h, size_t d, float *out) \
    { \
        const NAME(row##R) *rows = (const NAME(row##R) *)B, v = *(const NAME(row##R) *)h; \
        for (size_t j = 0; j < d; j++) \
            ((NAME(row##R) *)out)[j] = rows[j] + e[j] * v; \
    }
#if W <= 4
ROWS_OF(4)
#endif
#if W <= 8
ROWS_OF(8)
#endif
ROWS_OF(16)
#undef ROWS_OF

/* e[0] rank times, then e[1] rank times, and so on: W numbers as `rank` vectors. */
static ALWAYS void NAME(repeat)(const float *e, VEC *v, const int rank)
{
    v[0] = NAME(load)(e, W);
#pragma GCC unroll 4
    for (int count = 1; count < rank; count *= 2) {
#pragma GCC unroll 8
        for (int i = count - 1; i >= 0; i--) {
            const VEC whole = v[i];
            v[2 * i] = ZIP_LOW(whole, whole);
            v[2 * i + 1] = ZIP_HIGH(whole, whole);
        }
    }
}

/* The same where a vector holds several rows of B. */
#define PART_OF(R) \
    typedef float NAME(row##R) __attribute__((vector_size(4 * R), aligned(4), may_alias)); \
    static ALWAYS void NAME(gather##R)(const float *B, const float *e, size_t d, float *u) \
    { \
        VEC v[R], s0 = {0}, s1 = {0}; \
        size_t j = 0; \
        for (; j + W <= d; j += W) { \
            NAME(repeat)(e + j, v, R); \
            for (int q = 0; q < R; q += 2) { \
                s0 += v[q] * NAME(load)(B + j * R + q * W, W); \
                s1 += v[q + 1] * NAME(load)(B + j * R + q * W + W, W); \
            } \
        } \
        s0 += s1; \
        NAME(row##R) parts[W / R], total; \
        memcpy(parts, &s0, sizeof parts); \
        total = parts[0]; \
        for (int part = 1; part < W / R; part++) \
            total += parts[part]; \
        memcpy(u, &total, sizeof total); \
        for (; j < d; j++) \
            for (int k = 0; k < R; k++) \
                u[k] += e[j] * B[j * R + k]; \
    } \
    static ALWAYS void NAME(spread##R)( \
        const float *B, const float *e, const float *h, size_t d, float *out) \
    { \
        VEC v[R], hv = {0}; \
        for (int lane = 0; lane < W; lane++) \
            hv[lane] = h[lane % R]; \
        size_t j = 0; \
        for (; j + W <= d; j += W) { \
            NAME(repeat)(e + j, v, R); \
            for (int q = 0; q < R; q++) { \
                const size_t at = j * R + q * W; \
                NAME(store)(out + at, NAME(load)(B + at, W) + v[q] * hv, W); \
            } \
        } \
        for (; j < d; j++) \
            for (int k = 0; k < R; k++) \
                out[j * R + k] = B[j * R + k] + e[j] * h[k]; \
    }
#if W > 4
PART_OF(4)
#endif
#if W > 8
PART_OF(8)
#endif
#undef PART_OF

static ALWAYS void NAME(gather)(const float *B, const float *e, size_t d, int r, float *u)
{
    switch (r) {
    case 4: NAME(gather4)(B, e, d, u); return;
    case 8: NAME(gather8)(B, e, d, u); return;
    case 16: NAME(gather16)(B, e, d, u); return;
    default:
        memset(u, 0, 4 * (size_t)r);
        for (size_t j = 0; j < d; j++)
            for (int k = 0; k < r; k++)
                u[k] += e[j] * B[j * r + k];
    }
}

static ALWAYS void NAME(spread)(
    const float *B, const float *e, const float *h, size_t d, int r, float *out)
{
    switch (r) {
    case 4: NAME(spread4)(B, e, h, d, out); return;
    case 8: NAME(spread8)(B, e, h, d, out); return;
    case 16: NAME(spread16)(B, e, h, d, out); return;
    default:
        for (size_t j = 0; j < d; j++)
            for (int k = 0; k < r; k++)
                out[j * r + k] = B[j * r + k] + e[j] * h[k];
    }
}

/* out = a + f x */
static ALWAYS void NAME(add_scaled)(const float *a, float f, const float *x, float *out, size_t d)
{
    size_t j = 0;
    for (; j + W <= d; j += W)
        NAME(store)(out + j, NAME(load)(a + j, W) + f * NAME(load)(x + j, W), W);
    if (j < d)
        NAME(store)(out + j, NAME(load)(a + j, d - j) + f * NAME(load)(x + j, d - j), d - j);
}

/* `mse_update` of one sample. Both gradients are outer products, dA = c s u x^T and dB = c e h^T
 * with h scaled, so their norms are products of norms, and neither is ever formed: the block is
 * read from memory once and written once. */
static double NAME(update_one)(
    const Adapter *m, const Batch *b, const Scratch *t, double rate, double clip, float *A,
    float *B, double *errors)
{
    const size_t d = m->d;
    const int r = m->r;
    const double weight = b->w ? b->w[0] : 1.0, c = 2.0 * weight / b->energy;
    NAME(hidden_of)(m->A, b->X, d, r, t->H);
    double hidden = 0.0, back = 0.0;
    for (int k = 0; k < r; k++) {
        t->H[k] *= m->scale;
        hidden += (double)t->H[k] * t->H[k];
    }
    NAME(expand_of)(m->B, t->H, b->X, t->E, d, r, 0);
    errors[1] = NAME(subtract)(t->E, b->T, t->E, d, 1);
    errors[0] = weight * errors[1];
    NAME(gather)(m->B, t->E, d, r, t->U);
    for (int k = 0; k < r; k++)
        back += (double)t->U[k] * t->U[k];
    const double inputs = NAME(sum)(NAME(products)(b->X, b->X, d));
    const double s = m->scale, norm = c * sqrt(errors[1] * hidden + s * s * back * inputs);
    if (!isfinite(norm) || !isfinite(errors[0]))
        return norm;
    const double eta = -rate * c * (norm > clip ? clip / norm : 1.0);
    for (int k = 0; k < r; k++) {
        NAME(add_scaled)(m->A + k * d, (float)(eta * s * t->U[k]), b->X, A + k * d, d);
        t->H[k] = (float)(eta * t->H[k]);
    }
    NAME(spread)(m->B, t->E, t->H, d, r, B);
    return norm;
}

/* One clipped gradient step into A and B (which may be the adapter's own); returns the norm before
 * clipping. Nothing is written if it or the loss is not finite. */
static double NAME(mse_update)(
    const Adapter *m, const Batch *b, const Scratch *t, double rate, double clip, float *A,
    float *B, double *errors)
{
    if (b->n == 1)
        return NAME(update_one)(m, b, t, rate, clip, A, B, errors);
    const size_t size = m->d * m->r;
    const double norm = NAME(mse_slopes)(m, b, t, t->Ga, t->Gt, errors);
    if (!isfinite(norm) || !isfinite(errors[0]))
        return norm;
    const float eta = (float)(-rate * (norm > clip ? clip / norm : 1.0));
    NAME(add_scaled)(m->A, eta, t->Ga, A, size);
    NAME(add_transposed)(m->B, t->Gt, m->d, eta, B, m->d, m->r);
    return norm;
}

/* ---- the public ones --------------------------------------------------------------------- */

/* Returns whether all of X is finite, judged before anything is written. */
static int NAME(forward)(const Adapter *m, const float *X, size_t n, float *Y, const Scratch *t)
{
    const size_t d = m->d;
    if (n == 1)
        return NAME(forward_one)(m->A, m->B, m->scale, X, Y, d, m->r, t->H, 0);
    NAME(dots)(m->A, d, X, n, d, m->r, t->H);
    if (!all_finite(t->H, n * m->r))
        return 0;
    for (size_t i = 0; i < n * m->r; i++)
        t->H[i] *= m->scale;
    NAME(transpose)(m->B, t->Bt, d, d, m->r);
    NAME(expand)(t->Bt, d, t->H, X, Y, n, d, m->r);
    return 1;
}

/* `forward` of one vector whose y nobody reads soon: whole vectors of it need not be in a cache. */
static int NAME(forward_far)(const Adapter *m, const float *x, float *y, const Scratch *t)
{
    const size_t d = m->d;
    if ((uintptr_t)y % (4 * W) || d % W)
        return NAME(forward_one)(m->A, m->B, m->scale, x, y, d, m->r, t->H, 0);
    return NAME(forward_one)(m->A, m->B, m->scale, x, y, d, m->r, t->H, 1);
}

const Variant NAME(variant) = {
    .forward = NAME(forward),
    .forward_far = NAME(forward_far),
    .mse_sums = NAME(mse_sums),
    .mse_loss = NAME(mse_loss),
    .mse_gradient = NAME(mse_gradient),
    .mse_update = NAME(mse_update),
};

#undef VEC
#undef EVEN
#undef ODD
#undef ZIP_LOW
#undef ZIP_HIGH

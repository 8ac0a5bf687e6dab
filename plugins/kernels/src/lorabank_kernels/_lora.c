/* lorabank_kernels._lora: the numerics of adapters as a Python type, in the stable ABI.
 *
 * Every array is checked for its type, shape and layout before anything is computed, and held for
 * as long as the call takes. Longer calls release the GIL. What a method does, and with which
 * shapes, is said in `lorabank.kernels.protocol`.
 */

#include <stdatomic.h>
#include <stdlib.h>

#include "arguments.h"

#define ALIGNMENT 64
/* Multiply-adds (some 10 us) from which on another thread may run meanwhile. Below it, giving the
 * GIL away could cost more than the call: whoever takes it may keep it for milliseconds. */
#define LONG 200000
/* Bytes of a cache line; of blocks that are asked for ahead, and how many; of a block's beginning;
 * and of outputs that no cache would hold until they are read. */
#define LINE 64
#define AHEAD 8192
#define MOST_AHEAD 8
#define BEGINNING 4096
#define FAR (4 << 20)

typedef struct {
    PyObject_HEAD
    const Variant *variant;
    const char *name;
} Kernel;

static const Variant *variant_of(PyObject *self)
{
    return ((Kernel *)self)->variant;
}

/* ---- adapters and scratch memory ---------------------------------------------------------- */

/* A and B, and the scale: arguments 0 to 2 of a method. */
static int adapter_of(Arrays *held, PyObject *const *args, Adapter *m)
{
    double scale;
    Array *A = array(held, args[0], "A", 'f', READ);
    if (A == NULL)
        return 0;
    if (A->rows > INT32_MAX / 64) {
        PyErr_SetString(PyExc_ValueError, "A: too many rows");
        return 0;
    }
    m->A = A->data;
    m->d = A->columns;
    m->r = (int)A->rows;
    m->B = shaped(held, args[1], "B", 'f', READ, m->d, A->rows);
    if (m->B == NULL || !number(args[2], &scale))
        return 0;
    m->scale = (float)scale;
    return 1;
}

/* One allocation for all scratch of a call; free(*memory) afterwards. */
static int scratch_of(size_t n, size_t d, size_t r, int updating, Scratch *t, float **memory)
{
    const size_t small = n * r, matrix = r * d;
    size_t size = small + (n > 1 || updating ? matrix : 0);
    size += updating ? small + n * d + 2 * matrix : 0;
    *memory = malloc(4 * size + ALIGNMENT);
    if (*memory == NULL)
        return 0;
    float *next = *memory;
    next += (ALIGNMENT - (uintptr_t)next % ALIGNMENT) % ALIGNMENT / 4;
    memset(t, 0, sizeof *t);
    t->Bt = next;
    next += n > 1 || updating ? matrix : 0;
    if (updating) {
        t->Ga = next;
        t->Gt = next + matrix;
        t->E = next + 2 * matrix;
        t->U = t->E + n * d;
        next = t->U + small;
    }
    t->H = next;
    return 1;
}

/* X, T and w (or None): arguments 0 to 2. */
static int batch_of(Arrays *held, PyObject *const *args, size_t d, Batch *b)
{
    Array *X = array(held, args[0], "X", 'f', READ);
    if (X == NULL)
        return 0;
    if (d != 0 && X->columns != d) {
        PyErr_Format(PyExc_ValueError, "X: rows of %zu, expected %zu", X->columns, d);
        return 0;
    }
    b->X = X->data;
    b->n = X->rows;
    b->w = NULL;
    b->T = shaped(held, args[1], "T", 'f', READ, X->rows, X->columns);
    if (b->T == NULL)
        return 0;
    if (args[2] != Py_None) {
        b->w = shaped(held, args[2], "weights", 'f', READ, 1, X->rows);
        if (b->w == NULL)
            return 0;
    }
    return 1;
}

static PyThreadState *let_others_run(size_t n, size_t d, size_t r)
{
    return (double)n * (double)d * (double)r > LONG ? PyEval_SaveThread() : NULL;
}

static void back_again(PyThreadState *state)
{
    if (state != NULL)
        PyEval_RestoreThread(state);
}

/* ---- one adapter -------------------------------------------------------------------------- */

static PyObject *forward(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Arrays held = {.count = 0};
    PyObject *result = NULL;
    Adapter m;
    Array *X;
    float *out;
    if (!counted(count, 5) || !adapter_of(&held, args, &m) ||
        (X = array(&held, args[3], "X", 'f', READ)) == NULL ||
        (out = shaped(&held, args[4], "out", 'f', WRITE, X->rows, m.d)) == NULL ||
        last_overlaps(&held, "out", 0))
        goto done;
    if (X->columns != m.d || X->view.ndim != held.items[held.count - 1].view.ndim) {
        PyErr_Format(PyExc_ValueError, "X: not of out's shape, (%zu, %zu)", X->rows, m.d);
        goto done;
    }
    float hidden[64], *memory = NULL;
    Scratch t = {.H = hidden};
    if ((X->rows > 1 || m.r > 64) && !scratch_of(X->rows, m.d, m.r, 0, &t, &memory)) {
        PyErr_NoMemory();
        goto done;
    }
    PyThreadState *state = let_others_run(X->rows, m.d, m.r);
    const int finite = variant_of(self)->forward(&m, X->data, X->rows, out, &t);
    back_again(state);
    free(memory);
    result = PyBool_FromLong(finite);
done:
    release(&held);
    return result;
}

static PyObject *mse_sums(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Arrays held = {.count = 0};
    PyObject *result = NULL;
    Batch b;
    if (counted(count, 3) && batch_of(&held, args, 0, &b)) {
        double sums[2];
        const size_t d = held.items[0].columns;
        PyThreadState *state = let_others_run(b.n, d, 1);
        variant_of(self)->mse_sums(b.X, b.T, b.w, b.n, d, sums);
        back_again(state);
        result = Py_BuildValue("(dd)", sums[0], sums[1]);
    }
    release(&held);
    return result;
}

static PyObject *mse_loss(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Arrays held = {.count = 0};
    PyObject *result = NULL;
    Adapter m;
    Batch b;
    Scratch t;
    float *memory;
    if (!counted(count, 6) || !adapter_of(&held, args, &m) || !batch_of(&held, args + 3, m.d, &b))
        goto done;
    if (!scratch_of(b.n, m.d, m.r, 1, &t, &memory)) {
        PyErr_NoMemory();
        goto done;
    }
    double errors[2];
    PyThreadState *state = let_others_run(b.n, m.d, m.r);
    variant_of(self)->mse_loss(&m, &b, &t, errors);
    back_again(state);
    free(memory);
    result = Py_BuildValue("(dd)", errors[0], errors[1]);
done:
    release(&held);
    return result;
}

/* mse_gradient(A, B, scale, X, T, weights, energy, dA, dB) and
 * mse_update(A, B, scale, X, T, weights, energy, rate, clip, A_out, B_out) -> (error, norm) */
static PyObject *descend(PyObject *self, PyObject *const *args, const int updating)
{
    Arrays held = {.count = 0};
    PyObject *result = NULL, *const *outputs = args + (updating ? 9 : 7);
    Adapter m;
    Batch b;
    Scratch t;
    float *memory, *first, *second;
    double rate = 0.0, clip = 0.0, errors[2], norm;
    if (!adapter_of(&held, args, &m) || !batch_of(&held, args + 3, m.d, &b) ||
        !number(args[6], &b.energy))
        goto done;
    if (updating && (!number(args[7], &rate) || !number(args[8], &clip)))
        goto done;
    first = shaped(&held, outputs[0], "the output of A's shape", 'f', WRITE, m.r, m.d);
    if (first == NULL || last_overlaps(&held, "the output of A's shape", 0))
        goto done;
    second = shaped(&held, outputs[1], "the output of B's shape", 'f', WRITE, m.d, m.r);
    if (second == NULL || last_overlaps(&held, "the output of B's shape", 0))
        goto done;
    if (!scratch_of(b.n, m.d, m.r, 1, &t, &memory)) {
        PyErr_NoMemory();
        goto done;
    }
    PyThreadState *state = let_others_run(b.n, m.d, m.r);
    if (updating)
        norm = variant_of(self)->mse_update(&m, &b, &t, rate, clip, first, second, errors);
    else
        norm = variant_of(self)->mse_gradient(&m, &b, &t, first, second, errors);
    back_again(state);
    free(memory);
    result = Py_BuildValue("(dd)", errors[0], norm);
done:
    release(&held);
    return result;
}

static PyObject *mse_gradient(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return counted(count, 9) ? descend(self, args, 0) : NULL;
}

static PyObject *mse_update(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return counted(count, 11) ? descend(self, args, 1) : NULL;
}

/* ---- many adapters ------------------------------------------------------------------------ */

/* Slabs of equal shape (blocks, width); a block is A, then B, then padding. */
typedef struct {
    Py_buffer *views;
    Py_ssize_t count;
    size_t blocks, width, d;
    int r;
} Slabs;

static void release_slabs(Slabs *slabs)
{
    for (Py_ssize_t i = 0; i < slabs->count; i++)
        PyBuffer_Release(&slabs->views[i]);
    free(slabs->views);
}

/* A tuple of slabs for adapters of rank `rank` and the dimension d. */
static int slabs_of(PyObject *tuple, PyObject *rank, size_t d, int mode, Slabs *slabs)
{
    memset(slabs, 0, sizeof *slabs);
    const long r = PyLong_AsLong(rank);
    if (r == -1 && PyErr_Occurred())
        return 0;
    if (r < 1 || (size_t)r > d || !PyTuple_Check(tuple) || PyTuple_Size(tuple) < 1) {
        PyErr_SetString(PyExc_ValueError, "slabs: not a tuple of arrays, or an unfit rank");
        return 0;
    }
    const Py_ssize_t size = PyTuple_Size(tuple);
    slabs->views = calloc((size_t)size, sizeof *slabs->views);
    if (slabs->views == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    for (; slabs->count < size; slabs->count++) {
        Arrays one = {.count = 0};
        Array *slab = array(&one, PyTuple_GetItem(tuple, slabs->count), "slab", 'f', mode);
        if (slab == NULL) {
            release(&one);
            return 0;
        }
        if (slabs->count == 0) {
            slabs->blocks = slab->rows;
            slabs->width = slab->columns;
        }
        if (slab->rows != slabs->blocks || slab->columns != slabs->width ||
            slab->columns / d < 2 * (size_t)r) {
            PyErr_Format(PyExc_ValueError, "slab: shape (%zu, %zu) is too narrow or not the first's",
                         slab->rows, slab->columns);
            release(&one);
            return 0;
        }
        slabs->views[slabs->count] = one.items[0].view;
    }
    slabs->d = d;
    slabs->r = (int)r;
    return 1;
}

/* Whether n numbers are in [0, limit): else an IndexError. */
static int below(const char *name, const int64_t *numbers, size_t n, size_t limit)
{
    for (size_t i = 0; i < n; i++) {
        if ((uint64_t)numbers[i] >= limit) {
            PyErr_Format(PyExc_IndexError, "%s %lld is not one of %zu", name, (long long)numbers[i],
                         limit);
            return 0;
        }
    }
    return 1;
}

static int within(const Slabs *slabs, const int64_t *slots, size_t n)
{
    return below("slot", slots, n, (size_t)slabs->count * slabs->blocks);
}

/* A number for each of n adapters, or one for all: then the step from one to the next is 0. */
typedef struct {
    const double *first;
    size_t step;
} Numbers;

static int numbers_of(Arrays *held, PyObject *object, const char *name, size_t n, Numbers *numbers)
{
    const Array *found = array(held, object, name, 'd', READ);
    if (found == NULL)
        return 0;
    if (found->rows != 1 || (found->columns != n && found->columns != 1)) {
        PyErr_Format(PyExc_ValueError, "%s: %zu numbers, expected one or %zu", name, found->columns,
                     n);
        return 0;
    }
    *numbers = (Numbers){found->data, found->columns == n};
    return 1;
}

static double number_of(const Numbers *numbers, size_t i)
{
    return numbers->first[i * numbers->step];
}

/* Whether the memory of an argument is part of a slab, which is an error. */
static int in_slabs(const Slabs *slabs, const Py_buffer *view, const char *name)
{
    for (Py_ssize_t i = 0; i < slabs->count; i++) {
        if (overlap(view, &slabs->views[i])) {
            PyErr_Format(PyExc_ValueError, "%s: shares memory with a slab", name);
            return 1;
        }
    }
    return 0;
}

static float *block_of(const Slabs *slabs, int64_t slot)
{
    float *slab = slabs->views[(size_t)slot / slabs->blocks].buf;
    return slab + (size_t)slot % slabs->blocks * slabs->width;
}

static Adapter adapter_at(const Slabs *slabs, int64_t slot, double scale)
{
    const float *A = block_of(slabs, slot);
    return (Adapter){A, A + slabs->d * (size_t)slabs->r, (float)scale, slabs->d, slabs->r};
}

/* Stretches of rows, (n, 2): each begins before it ends, within `rows`. Returns the longest, or 0
 * with an exception set. */
static size_t longest(const int64_t *stretches, size_t n, size_t rows)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t start = stretches[2 * i], stop = stretches[2 * i + 1];
        if (start < 0 || stop <= start || (uint64_t)stop > rows) {
            PyErr_Format(PyExc_IndexError, "rows %lld to %lld are no stretch of %zu",
                         (long long)start, (long long)stop, rows);
            return 0;
        }
        most = (size_t)(stop - start) > most ? (size_t)(stop - start) : most;
    }
    return most;
}

/* Asks for memory that is needed soon, into the second-level cache: for the first level the queue
 * is several times shorter. (Inlined by force: GCC drops calls of a function that only prefetches.) */
static ALWAYS void announce(const void *start, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += LINE)
        __builtin_prefetch((const char *)start + at, 0, 2);
}

/* The beginning of the block in `slots[later]`, unless it follows the one before in memory: then,
 * as behind the beginning, the processor sees by itself what comes next. */
static ALWAYS void announce_block(const Slabs *slabs, const int64_t *slots, size_t later)
{
    const size_t block = 8 * slabs->d * (size_t)slabs->r;
    if (slots[later] != slots[later - 1] + 1)
        announce(block_of(slabs, slots[later]), block < BEGINNING ? block : BEGINNING);
}

/* How many adapters ahead: some kilobytes should be under way at all times. */
static size_t ahead_of(const Slabs *slabs)
{
    const size_t adapters = AHEAD / (8 * slabs->d * (size_t)slabs->r);
    return adapters < 1 ? 1 : adapters > MOST_AHEAD ? MOST_AHEAD : adapters;
}

/* forward_many(slabs, rank, slots, scales, rows, X, out) -> the first row that is not finite, or -1 */
static PyObject *forward_many(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Arrays held = {.count = 0};
    Slabs slabs = {.count = 0};
    PyObject *result = NULL;
    Array *X, *found;
    if (!counted(count, 7) || (X = array(&held, args[5], "X", 'f', READ)) == NULL ||
        (found = array(&held, args[2], "slots", 'q', READ)) == NULL)
        return release(&held), NULL;
    const size_t n = found->columns, d = X->columns;
    const int64_t *slots = found->data, *rows = NULL;
    Numbers scales;
    float *out = NULL;
    if (numbers_of(&held, args[3], "scales", n, &scales) &&
        (rows = shaped(&held, args[4], "rows", 'q', READ, 1, n)) != NULL)
        out = shaped(&held, args[6], "out", 'f', WRITE, X->rows, d);
    if (out == NULL || last_overlaps(&held, "out", 0) ||
        !slabs_of(args[0], args[1], d, READ, &slabs) || !within(&slabs, slots, n) ||
        !below("row", rows, n, X->rows) || in_slabs(&slabs, &held.items[held.count - 1].view, "out"))
        goto done;
    float *hidden = malloc(4 * (size_t)slabs.r);
    if (hidden == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    const float *x = X->data;
    const Scratch t = {.H = hidden};
    const Variant *variant = variant_of(self);
    const size_t ahead = ahead_of(&slabs);
    const int far = 4 * n * d > FAR;
    long long bad = -1;
    PyThreadState *state = let_others_run(n, d, (size_t)slabs.r);
    for (size_t i = 0; i < n; i++) {
        const size_t later = i + ahead;
        if (later < n) {
            announce_block(&slabs, slots, later);
            if (rows[later] != rows[later - 1] + 1)
                announce(x + (size_t)rows[later] * d, 4 * d);
        }
        const Adapter m = adapter_at(&slabs, slots[i], number_of(&scales, i));
        const size_t at = (size_t)rows[i] * d;
        const int finite = far ? variant->forward_far(&m, x + at, out + at, &t)
                               : variant->forward(&m, x + at, 1, out + at, &t);
        if (!finite && (bad < 0 || rows[i] < bad))
            bad = rows[i];
    }
    if (far)
        atomic_thread_fence(memory_order_seq_cst); /* what went past the caches is there now */
    back_again(state);
    free(hidden);
    result = PyLong_FromLongLong(bad);
done:
    release_slabs(&slabs);
    release(&held);
    return result;
}

/* One user: results = (error, energy, norm); nothing is written if one is not finite. */
static void update_one(
    const Variant *variant, const Adapter *m, Batch *b, const Scratch *t, double rate, double clip,
    float *target, double *results)
{
    double sums[2], errors[2] = {NAN, NAN};
    variant->mse_sums(b->X, NULL, b->w, b->n, m->d, sums);
    results[1] = b->energy = sums[0];
    results[2] = NAN;
    if (isfinite(sums[0]) && sums[0] > 0.0)
        results[2] = variant->mse_update(
            m, b, t, rate, clip, target, target + m->d * (size_t)m->r, errors);
    results[0] = errors[0];
}

/* mse_update_many(slabs, rank, sources, targets, scales, rates, clips, stretches, X, T, weights,
 * results) -> None; stretches (n, 2): rows of each; results (n, 3): error, energy, norm of each */
static PyObject *mse_update_many(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Arrays held = {.count = 0};
    Slabs slabs = {.count = 0};
    PyObject *result = NULL;
    Batch all;
    if (!counted(count, 12) || !batch_of(&held, args + 8, 0, &all))
        return release(&held), NULL;
    const size_t d = held.items[0].columns;
    const Array *found = array(&held, args[2], "sources", 'q', READ);
    if (found == NULL)
        return release(&held), NULL;
    const int64_t *sources = found->data;
    const size_t n = found->columns;
    const int64_t *targets = NULL, *stretches = NULL;
    Numbers scales, rates, clips;
    double *results;
    if ((targets = shaped(&held, args[3], "targets", 'q', READ, 1, n)) == NULL ||
        !numbers_of(&held, args[4], "scales", n, &scales) ||
        !numbers_of(&held, args[5], "learning_rates", n, &rates) ||
        !numbers_of(&held, args[6], "clip_thresholds", n, &clips) ||
        (stretches = shaped(&held, args[7], "stretches", 'q', READ, n, 2)) == NULL ||
        (results = shaped(&held, args[11], "results", 'd', WRITE, n, 3)) == NULL ||
        last_overlaps(&held, "results", 0) || !slabs_of(args[0], args[1], d, WRITE, &slabs) ||
        !within(&slabs, sources, n) || !within(&slabs, targets, n) ||
        in_slabs(&slabs, &held.items[held.count - 1].view, "results"))
        goto done;
    const size_t most = longest(stretches, n, all.n);
    if (most == 0)
        goto done;
    Scratch t;
    float *memory;
    if (!scratch_of(most, d, (size_t)slabs.r, 1, &t, &memory)) {
        PyErr_NoMemory();
        goto done;
    }
    const Variant *variant = variant_of(self);
    const size_t ahead = ahead_of(&slabs);
    PyThreadState *state = let_others_run(all.n, d, (size_t)slabs.r);
    for (size_t i = 0; i < n; i++) {
        const size_t start = (size_t)stretches[2 * i], later = i + ahead;
        if (later < n) {
            announce_block(&slabs, sources, later);
            if (targets[later] != sources[later])
                announce_block(&slabs, targets, later);
            if (stretches[2 * later] != stretches[2 * later - 1]) {
                announce(all.X + (size_t)stretches[2 * later] * d, 4 * d);
                announce(all.T + (size_t)stretches[2 * later] * d, 4 * d);
            }
        }
        const Adapter m = adapter_at(&slabs, sources[i], number_of(&scales, i));
        Batch b = {all.X + start * d, all.T + start * d, all.w ? all.w + start : NULL,
                   (size_t)stretches[2 * i + 1] - start, 0.0};
        update_one(variant, &m, &b, &t, number_of(&rates, i), number_of(&clips, i),
                   block_of(&slabs, targets[i]), results + 3 * i);
    }
    back_again(state);
    free(memory);
    result = Py_NewRef(Py_None);
done:
    release_slabs(&slabs);
    release(&held);
    return result;
}

/* ---- the type and the module -------------------------------------------------------------- */

static const struct {
    const char *name;
    const Variant *variant;
} VARIANTS[] = {
#if defined(__x86_64__)
    {"avx512", &lora_avx512_variant},
    {"avx2", &lora_avx2_variant},
#endif
    {"portable", &lora_portable_variant},
};
enum { VARIANT_COUNT = sizeof VARIANTS / sizeof *VARIANTS };

/* Whether this processor, and its operating system, can run it. */
static int supported(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return strcmp(name, "portable") == 0;
}

static PyObject *new_kernel(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"variant", NULL};
    const char *wanted;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "s", names, &wanted))
        return NULL;
    for (int i = 0; i < VARIANT_COUNT; i++) {
        if (strcmp(wanted, VARIANTS[i].name) == 0 && supported(wanted)) {
            allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
            Kernel *self = (Kernel *)allocate(type, 0);
            if (self != NULL) {
                self->variant = VARIANTS[i].variant;
                self->name = VARIANTS[i].name;
            }
            return (PyObject *)self;
        }
    }
    return PyErr_Format(PyExc_ValueError, "this processor has no variant '%s'", wanted);
}

static void free_kernel(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release_memory = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release_memory(self);
    Py_DECREF(type);
}

static PyObject *variant_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((Kernel *)self)->name);
}

static PyObject *variants(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *found = PyList_New(0);
    for (int i = 0; found != NULL && i < VARIANT_COUNT; i++) {
        if (!supported(VARIANTS[i].name))
            continue;
        PyObject *name = PyUnicode_FromString(VARIANTS[i].name);
        if (name == NULL || PyList_Append(found, name) < 0)
            Py_CLEAR(found);
        Py_XDECREF(name);
    }
    return found;
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}
static PyMethodDef KERNEL_METHODS[] = {
    METHOD(forward),      METHOD(mse_sums),     METHOD(mse_loss),        METHOD(mse_gradient),
    METHOD(mse_update),   METHOD(forward_many), METHOD(mse_update_many), {NULL, NULL, 0, NULL},
};
static PyGetSetDef KERNEL_ATTRIBUTES[] = {
    {"variant", variant_name, NULL, "the instruction set it was compiled for", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot KERNEL_SLOTS[] = {
    {Py_tp_new, new_kernel},
    {Py_tp_dealloc, free_kernel},
    {Py_tp_methods, KERNEL_METHODS},
    {Py_tp_getset, KERNEL_ATTRIBUTES},
    {Py_tp_doc, "Kernel(variant): the numerics compiled for one of `variants()`."},
    {0, NULL},
};
static PyType_Spec KERNEL_SPEC = {
    .name = "lorabank_kernels._lora.Kernel",
    .basicsize = sizeof(Kernel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = KERNEL_SLOTS,
};

static int fill_module(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&KERNEL_SPEC);
    if (type == NULL)
        return -1;
    const int failed = PyModule_AddObjectRef(module, "Kernel", type);
    Py_DECREF(type);
    return failed;
}

static PyMethodDef MODULE_METHODS[] = {
    {"variants", variants, METH_NOARGS, "Those that this processor can run, the fastest first."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot MODULE_SLOTS[] = {{Py_mod_exec, fill_module}, {0, NULL}};
static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "lorabank_kernels._lora",
    .m_doc = "The numerics of adapters, compiled.",
    .m_methods = MODULE_METHODS,
    .m_slots = MODULE_SLOTS,
};

PyMODINIT_FUNC PyInit__lora(void)
{
    return PyModuleDef_Init(&MODULE);
}

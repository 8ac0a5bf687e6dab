/* Arguments of a call: arrays through the buffer protocol, checked before anything is computed. */

#ifndef LORABANK_ARGUMENTS_H
#define LORABANK_ARGUMENTS_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lora.h"

/* A C-contiguous array that is held for the length of a call. A vector has one row. */
typedef struct {
    Py_buffer view;
    void *data;
    size_t rows, columns;
} Array;

/* The arrays of one call, released together. */
typedef struct {
    Array items[12];
    int count;
} Arrays;

enum { READ = 0, WRITE = 1 };

static inline void release(Arrays *held)
{
    while (held->count > 0)
        PyBuffer_Release(&held->items[--held->count].view);
}

static inline int holds(const Py_buffer *view, char type)
{
    if (view->format == NULL || view->format[0] == '\0' || view->format[1] != '\0')
        return 0;
    if (type == 'q')
        return (view->format[0] == 'q' || view->format[0] == 'l') && view->itemsize == 8;
    return view->format[0] == type && view->itemsize == (type == 'f' ? 4 : 8);
}

/* An array of float32 ('f'), float64 ('d') or int64 ('q') of one or two dimensions, none empty.
 * NULL with an exception set if it is not one. */
static inline Array *array(Arrays *held, PyObject *object, const char *name, char type, int mode)
{
    Array *found = &held->items[held->count];
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (mode == WRITE ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, &found->view, flags) < 0)
        return NULL;
    held->count++;
    const Py_buffer *view = &found->view;
    if (!holds(view, type)) {
        PyErr_Format(PyExc_TypeError, "%s: not an array of %s", name,
                     type == 'f' ? "float32" : type == 'd' ? "float64" : "int64");
        return NULL;
    }
    if (view->ndim < 1 || view->ndim > 2 || view->len == 0) {
        PyErr_Format(PyExc_ValueError, "%s: not one or two dimensions with something in them", name);
        return NULL;
    }
    if ((uintptr_t)view->buf % (uintptr_t)view->itemsize) {
        PyErr_Format(PyExc_ValueError, "%s: not aligned", name);
        return NULL;
    }
    found->data = view->buf;
    found->columns = (size_t)view->shape[view->ndim - 1];
    found->rows = view->ndim == 2 ? (size_t)view->shape[0] : 1;
    return found;
}

/* `array`, of exactly this shape. */
static inline void *shaped(
    Arrays *held, PyObject *object, const char *name, char type, int mode, size_t rows,
    size_t columns)
{
    Array *found = array(held, object, name, type, mode);
    if (found == NULL)
        return NULL;
    if (found->rows != rows || found->columns != columns) {
        PyErr_Format(PyExc_ValueError, "%s: shape (%zu, %zu), expected (%zu, %zu)", name,
                     found->rows, found->columns, rows, columns);
        return NULL;
    }
    return found->data;
}

static inline int overlap(const Py_buffer *a, const Py_buffer *b)
{
    const char *first = a->buf, *second = b->buf;
    return first < second + b->len && second < first + a->len;
}

/* 0 unless the last array overlaps one of those before it (of which `skipped` are left out). */
static inline int last_overlaps(const Arrays *held, const char *name, int skipped)
{
    const Py_buffer *last = &held->items[held->count - 1].view;
    for (int i = skipped; i < held->count - 1; i++) {
        if (overlap(last, &held->items[i].view)) {
            PyErr_Format(PyExc_ValueError, "%s: shares memory with another argument", name);
            return 1;
        }
    }
    return 0;
}

static inline int counted(Py_ssize_t given, Py_ssize_t expected)
{
    if (given != expected)
        PyErr_Format(PyExc_TypeError, "%zd arguments, expected %zd", given, expected);
    return given == expected;
}

static inline int number(PyObject *object, double *value)
{
    *value = PyFloat_AsDouble(object);
    return !(*value == -1.0 && PyErr_Occurred());
}

#endif

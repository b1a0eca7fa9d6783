/* Products of FP32 matrices on AMX tiles, which multiply bfloat16: each FP32 number as the sum of two bfloat16. */
#ifndef ROUNDHOUSE_SPLIT_MATMUL_H
#define ROUNDHOUSE_SPLIT_MATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the weights lie, as split_weights.py has it. */
enum {
  SPLIT_PANEL = 32,        /* columns that lie together */
  SPLIT_STEP = 32,         /* rows of a panel that lie together */
  SPLIT_STEP_SIZE = 2048,  /* elements of those: their high and their low halves */
};

/* What is done to each element after the bias was added. */
enum split_activation { SPLIT_NOTHING = 0, SPLIT_GELU = 1 };

typedef struct {
  const float *x;           /* [rows, inner], row by row */
  int64_t rows, inner, columns;
  const uint16_t *weights;  /* [inner, columns], as split_weights.py lays them out */
  const float *bias;        /* [columns] */
  enum split_activation activation;
  float *y;                 /* [rows, columns], row by row */
} split_product;

/* Runs task(of, 0) ... task(of, count - 1), in any order, on any threads; returns when all are done. */
typedef void (*split_runner)(void *context, void (*task)(void *of, size_t index), size_t count, void *of);

/* The runner that needs no threads, and no context. */
void split_run_here(void *context, void (*task)(void *of, size_t index), size_t count, void *of);

/* Whether this processor and this kernel have what it needs. Asks the kernel once for the tile registers. */
bool split_matmul_is_ready(void);

/* y = activation(x . weights + bias). Only where split_matmul_is_ready(). Returns false if there is no memory for scratch. */
bool split_matmul(const split_product *product, split_runner run, void *context);

#endif

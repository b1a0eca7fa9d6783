/* The method is the one that PyTorch's documentation calls float32 matrix multiplication of precision "high": with
 * x = xh + xl and w = wh + wl, where h is the nearest bfloat16 and l that of what is left, x w is xh wh + xh wl + xl wh
 * up to 3 * 2^-16 of |x w|, and of a sum of many far less. Products are exact, sums are FP32; what is infinite becomes
 * NaN. Three products on tiles take a fifth of the cycles that one takes with AVX-512.
 *
 * A tile register holds 16 rows of 64 bytes. Weights come in panels of 32 columns; of 32 rows of them (a step) four
 * tiles of 1 KB lie side by side: high left, high right, low left, low right. Rows of x are split by us, into blocks of
 * 16 rows: of 32 columns of them two tiles, high and low.
 *
 * Every element of y adds its products in the same order, whatever else is computed with it: a row's result does not
 * depend on the rows that it was batched with.
 */
#include "split_matmul.h"

#include <stdlib.h>
#include <string.h>

void split_run_here(void *context, void (*task)(void *of, size_t index), size_t count, void *of) {
  (void)context;
  for (size_t index = 0; index < count; index++) task(of, index);
}

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ON_TILES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

enum {
  TILE = 512,             /* elements */
  BLOCK_STEP = 2 * TILE,  /* of x: high, low */
  ROWS_AT_ONCE = 128,     /* their halves, 0.5 MB for 1024 columns, stay in the L2 cache while all panels pass by */
  LINES_IN_STEP = SPLIT_STEP_SIZE * 2 / 64,
  SOON = 16384,           /* bytes ahead, where weights are used once; else each pass brings its share of the next panel */
};

typedef struct {
  split_product of;
  uint16_t *blocks;  /* the rows that are being multiplied, split */
  int64_t first_row, rows, steps, panels, panels_in_task;
} work;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t parts(int64_t of, int64_t size) { return (of + size - 1) / size; }

static __mmask16 lanes(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

/* --- x, split ------------------------------------------------------------------------------------------------------ */

/* What the nearest bfloat16 leaves of each number; nothing of infinities and of what became one. */
ON_TILES static __m512 left_over(__m512 numbers, __m256i high) {
  __m512 rounded = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
  const int nan_or_infinite = 0x99;
  __mmask16 finite = (__mmask16)~_mm512_fpclass_ps_mask(rounded, nan_or_infinite);
  return _mm512_maskz_sub_ps(finite, numbers, rounded);
}

ON_TILES static void split_block(void *of, size_t block) {
  const work *w = of;
  int64_t first = (int64_t)block * 16, rows = least(16, w->rows - first), inner = w->of.inner;
  uint16_t *tile = w->blocks + (int64_t)block * w->steps * BLOCK_STEP;
  for (int64_t step = 0; step < w->steps; step++, tile += BLOCK_STEP) {
    const float *from = w->of.x + (w->first_row + first) * inner + step * 32;
    __mmask16 left = lanes(inner - step * 32), right = lanes(inner - step * 32 - 16);
    for (int64_t row = 0; row < rows; row++, from += inner) {
      __m512 a = _mm512_maskz_loadu_ps(left, from), b = _mm512_maskz_loadu_ps(right, from + 16);
      __m512i high = (__m512i)_mm512_cvtne2ps_pbh(b, a);
      __m512 a_left = left_over(a, _mm512_castsi512_si256(high));
      __m512 b_left = left_over(b, _mm512_extracti64x4_epi64(high, 1));
      _mm512_store_si512(tile + row * 32, high);
      _mm512_store_si512(tile + TILE + row * 32, (__m512i)_mm512_cvtne2ps_pbh(b_left, a_left));
    }
  }
}

/* --- y ------------------------------------------------------------------------------------------------------------- */

/* e^x for x <= 0: 2^n e^r with |r| <= ln(2)/2, e^r by its Taylor series to r^6 (error below 2e-7 of it). */
ON_TILES static __m512 exponential(__m512 x) {
  x = _mm512_max_ps(x, _mm512_set1_ps(-126.f)); /* less is as good as nothing, and -1e14 has no small r */
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145752f), x); /* ln 2 in two parts: the first has few bits */
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), r);
  __m512 e = _mm512_set1_ps(1.f / 720);
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.f / 120));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.f / 24));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.f / 6));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0.5f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.f));
  return _mm512_scalef_ps(e, n);
}

/* x (1 + erf(x / sqrt 2)) / 2, erf by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26 (error 1.5e-7). */
ON_TILES static __m512 gelu(__m512 x) {
  __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.707106781f));
  __m512 t = _mm512_div_ps(_mm512_set1_ps(1.f), _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), _mm512_set1_ps(1.f)));
  __m512 p = _mm512_set1_ps(1.061405429f);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
  __m512 far = exponential(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
  /* 1 - erf(z), halved: what the side away from zero lacks, and the other side has. */
  __m512 tail = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(p, t), far), _mm512_set1_ps(0.5f));
  __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  return _mm512_mul_ps(x, _mm512_mask_sub_ps(tail, (__mmask16)~negative, _mm512_set1_ps(1.f), tail));
}

/* Sums of 16 columns, to where they belong. */
ON_TILES static void put(const float *sums, float *y, int64_t stride, int64_t rows, __mmask16 columns, bool is_gelu) {
  for (int64_t row = 0; row < rows; row++) {
    __m512 value = _mm512_load_ps(sums + row * 16);
    _mm512_mask_storeu_ps(y + row * stride, columns, is_gelu ? gelu(value) : value);
  }
}

/* Tile numbers must be constants of the program: so this is no function. */
#define STORE(tile, to, height, mask)                                             \
  do {                                                                            \
    if (is_gelu || (mask) != 0xffff) {                                            \
      _tile_stored(tile, sums, 64);                                               \
      put(sums, to, w->of.columns, height, mask, is_gelu);                        \
    } else {                                                                      \
      _tile_stored(tile, to, (size_t)w->of.columns * sizeof(float));              \
    }                                                                             \
  } while (0)

/* --- tiles --------------------------------------------------------------------------------------------------------- */

typedef struct __attribute__((packed)) {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes_in_row[16];
  uint8_t rows[16];
} tile_shapes;

/* 0 1 / 2 3: sums of the upper and the lower block. 4, 5: of x, upper and lower. 6, 7: of the weights, left and right. */
ON_TILES static void shape_tiles(int64_t upper, int64_t lower) {
  tile_shapes shapes = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    bool is_lower = tile == 2 || tile == 3 || tile == 5;
    shapes.bytes_in_row[tile] = 64;
    shapes.rows[tile] = (uint8_t)(tile > 5 ? 16 : is_lower && lower ? lower : upper);
  }
  _tile_loadconfig(&shapes);
}

typedef struct {
  const uint16_t *upper, *lower, *weights;
  const char *ahead;  /* what will be wanted soon */
  int64_t lines;      /* of it to bring in a quarter of a step */
  const float *bias;  /* of the panel */
  float *y;
  int64_t upper_rows, lower_rows;
  __mmask16 left, right;
} square;

/* Weights come from far: they are asked for a few at a time, so that nothing else waits behind them. */
ON_TILES static void bring(const char **ahead, int64_t lines) {
  for (int64_t line = 0; line < lines; line++, *ahead += 64) _mm_prefetch(*ahead, _MM_HINT_T0);
}

ON_TILES static void multiply_two_blocks(const work *w, const square *s) {
  float sums[256] __attribute__((aligned(64)));
  bool is_gelu = w->of.activation == SPLIT_GELU;
  const uint16_t *a = s->upper, *b = s->lower, *panel = s->weights;
  const char *ahead = s->ahead;
  _tile_loadd(0, s->bias, 0); /* a stride of nothing: every row begins as the bias */
  _tile_loadd(1, s->bias + 16, 0);
  _tile_loadd(2, s->bias, 0);
  _tile_loadd(3, s->bias + 16, 0);
  for (int64_t step = 0; step < w->steps; step++, a += BLOCK_STEP, b += BLOCK_STEP, panel += SPLIT_STEP_SIZE) {
    _tile_loadd(6, panel, 64);
    _tile_loadd(4, a + TILE, 64);
    _tile_loadd(7, panel + TILE, 64);
    _tile_loadd(5, b + TILE, 64);
    _tile_dpbf16ps(0, 4, 6); /* low x high; a tile is loaded anew as soon as nobody reads it */
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(4, a, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(5, b, 64);
    bring(&ahead, s->lines);
    _tile_dpbf16ps(0, 4, 6); /* high x high */
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(6, panel + 2 * TILE, 64);
    bring(&ahead, s->lines);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(7, panel + 3 * TILE, 64);
    bring(&ahead, s->lines);
    _tile_dpbf16ps(0, 4, 6); /* high x low */
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
    bring(&ahead, s->lines);
  }
  STORE(0, s->y, s->upper_rows, s->left);
  STORE(2, s->y + 16 * w->of.columns, s->lower_rows, s->left);
  if (s->right) {
    STORE(1, s->y + 16, s->upper_rows, s->right);
    STORE(3, s->y + 16 * w->of.columns + 16, s->lower_rows, s->right);
  }
}

ON_TILES static void multiply_one_block(const work *w, const square *s) {
  float sums[256] __attribute__((aligned(64)));
  bool is_gelu = w->of.activation == SPLIT_GELU;
  const uint16_t *a = s->upper, *panel = s->weights;
  const char *ahead = s->ahead;
  _tile_loadd(0, s->bias, 0);
  _tile_loadd(1, s->bias + 16, 0);
  for (int64_t step = 0; step < w->steps; step++, a += BLOCK_STEP, panel += SPLIT_STEP_SIZE) {
    _tile_loadd(6, panel, 64);
    _tile_loadd(4, a + TILE, 64);
    _tile_loadd(7, panel + TILE, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(4, a, 64);
    bring(&ahead, s->lines);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(6, panel + 2 * TILE, 64);
    bring(&ahead, s->lines);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(7, panel + 3 * TILE, 64);
    bring(&ahead, s->lines);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    bring(&ahead, s->lines);
  }
  STORE(0, s->y, s->upper_rows, s->left);
  if (s->right) STORE(1, s->y + 16, s->upper_rows, s->right);
}

ON_TILES static void multiply_panels(void *of, size_t index) {
  const work *w = of;
  int64_t first = (int64_t)index * w->panels_in_task, end = least(w->panels, first + w->panels_in_task);
  int64_t passes = parts(w->rows, 2 * 16), upper_shape = 0, lower_shape = -1;
  for (int64_t panel = first; panel < end; panel++) {
    float bias[SPLIT_PANEL] __attribute__((aligned(64))) = {0};
    int64_t column = panel * SPLIT_PANEL, columns = least(SPLIT_PANEL, w->of.columns - column);
    const uint16_t *weights = w->of.weights + panel * w->steps * SPLIT_STEP_SIZE;
    const int64_t panel_bytes = w->steps * SPLIT_STEP_SIZE * (int64_t)sizeof(uint16_t);
    memcpy(bias, w->of.bias + column, (size_t)columns * sizeof(float));
    for (int64_t pass = 0; pass < passes; pass++) {
      int64_t row = pass * 2 * 16;
      const uint16_t *block = w->blocks + pass * 2 * w->steps * BLOCK_STEP;
      square s = {
          .upper = block,
          .lower = block + w->steps * BLOCK_STEP,
          .weights = weights,
          .ahead = (const char *)weights + (passes > 1 ? (passes + pass) * panel_bytes / passes : SOON),
          .lines = LINES_IN_STEP / 4 / passes,
          .bias = bias,
          .y = w->of.y + (w->first_row + row) * w->of.columns + column,
          .upper_rows = least(16, w->rows - row),
          .lower_rows = least(16, w->rows - row - 16),
          .left = lanes(columns),
          .right = lanes(columns - 16),
      };
      if (s.lower_rows < 0) s.lower_rows = 0;
      if (s.upper_rows != upper_shape || s.lower_rows != lower_shape) {
        shape_tiles(s.upper_rows, s.lower_rows);
        upper_shape = s.upper_rows;
        lower_shape = s.lower_rows;
      }
      if (s.lower_rows) {
        multiply_two_blocks(w, &s);
      } else {
        multiply_one_block(w, &s);
      }
    }
  }
  _tile_release(); /* tiles in use cost every switch of threads 8 KB */
}

/* --- all of it ----------------------------------------------------------------------------------------------------- */

bool split_matmul(const split_product *product, split_runner run, void *context) {
  work w = {.of = *product, .steps = parts(product->inner, SPLIT_STEP), .panels = parts(product->columns, SPLIT_PANEL)};
  int64_t most_blocks = parts(least(product->rows, ROWS_AT_ONCE), 16);
  if (!most_blocks || !w.panels) return true;
  size_t scratch = (size_t)(most_blocks * w.steps) * BLOCK_STEP * sizeof(uint16_t);
  w.blocks = aligned_alloc(64, scratch ? scratch : 64);
  if (!w.blocks) return false;
  w.panels_in_task = w.panels < 32 ? 2 : 4; /* 64 columns: a row of y is then written in whole lines by one thread */
  for (w.first_row = 0; w.first_row < product->rows; w.first_row += ROWS_AT_ONCE) {
    w.rows = least(ROWS_AT_ONCE, product->rows - w.first_row);
    size_t blocks = (size_t)parts(w.rows, 16);
    (blocks > 2 ? run : split_run_here)(context, split_block, blocks, &w); /* less is done before others are awake */
    run(context, multiply_panels, (size_t)parts(w.panels, w.panels_in_task), &w);
  }
  free(w.blocks);
  return true;
}

static bool has_instructions(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
  if ((d & amx_bf16) == 0 || (d & amx_tile) == 0) return false;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || (a & (1u << 5)) == 0) return false; /* AVX512-BF16 */
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

bool split_matmul_is_ready(void) {
  const long request_permission = 0x1023, tile_data = 18; /* arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) */
  return has_instructions() && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

#else

bool split_matmul_is_ready(void) { return false; }

bool split_matmul(const split_product *product, split_runner run, void *context) {
  (void)product, (void)run, (void)context;
  return false;
}

#endif

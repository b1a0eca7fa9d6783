/* The products of split_matmul.c as operators of ONNX Runtime's graphs, domain "roundhouse", version 1:
 *
 *   y = SplitMatMul(x, weights, bias), y = SplitMatMulGelu(x, weights, bias)
 *   x: FP32 [..., inner]; weights: UINT16, laid out by split_weights.py; bias: FP32 [columns]; y: FP32 [..., columns]
 *
 * ONNX Runtime's wheels bring no C headers, so what is needed of its C API is declared here. The API is a table of
 * functions to which new ones are only ever appended (onnxruntime_c_api.h: "the order must not change").
 */
#include "split_matmul.h"

typedef struct OrtStatus OrtStatus;
typedef const void *OrtFunction;
typedef struct OrtApiBase {
  const OrtFunction *(*get_api)(uint32_t version);
  const char *(*get_version)(void);
} OrtApiBase;

enum { API_VERSION = 17, /* the first with parallel_for: ONNX Runtime 1.17 */ MOST_AXES = 16 };

/* Places in the table. */
enum {
  CREATE_STATUS = 0,
  CREATE_DOMAIN = 26,
  ADD_OP = 27,
  ADD_DOMAIN = 28,
  TENSOR_DATA = 51,
  COUNT_AXES = 61,
  GET_AXES = 62,
  TENSOR_SHAPE = 65,
  GET_INPUT = 90,
  GET_OUTPUT = 91,
  RELEASE_STATUS = 93,
  RELEASE_SHAPE = 99,
  PARALLEL_FOR = 274,
};

static const OrtFunction *api;

#define ORT(place, ...) ((OrtStatus * (*)(__VA_ARGS__)) api[place])
#define ORT_VOID(place, ...) ((void (*)(__VA_ARGS__))api[place])
#define TRY(call)                  \
  do {                             \
    OrtStatus *failed_ = (call);   \
    if (failed_) return failed_;   \
  } while (0)

enum { INVALID_ARGUMENT = 2, RUNTIME_EXCEPTION = 6 };

static OrtStatus *failure(int code, const char *message) { return ORT(CREATE_STATUS, int, const char *)(code, message); }

/* --- tensors ------------------------------------------------------------------------------------------------------- */

static OrtStatus *shape_of(const void *tensor, int64_t *axes, size_t *count) {
  void *shape = NULL;
  TRY(ORT(TENSOR_SHAPE, const void *, void **)(tensor, &shape));
  OrtStatus *failed = ORT(COUNT_AXES, const void *, size_t *)(shape, count);
  if (!failed && *count > MOST_AXES) failed = failure(INVALID_ARGUMENT, "a matrix product of too many axes");
  if (!failed) failed = ORT(GET_AXES, const void *, int64_t *, size_t)(shape, axes, *count);
  ORT_VOID(RELEASE_SHAPE, void *)(shape);
  return failed;
}

static OrtStatus *input_of(const void *context, size_t index, const void **data, int64_t *axes, size_t *count) {
  const void *tensor = NULL;
  TRY(ORT(GET_INPUT, const void *, size_t, const void **)(context, index, &tensor));
  TRY(shape_of(tensor, axes, count));
  return ORT(TENSOR_DATA, const void *, const void **)(tensor, data);
}

/* --- a run --------------------------------------------------------------------------------------------------------- */

/* On the threads of the session, and on the caller's alone where it has no others. */
static void run_in_session(void *context, void (*task)(void *, size_t), size_t count, void *of) {
  if (count > 1) {
    OrtStatus *failed = ORT(PARALLEL_FOR, void *, void (*)(void *, size_t), size_t, size_t, void *)(context, task, count, count, of);
    if (!failed) return;
    ORT_VOID(RELEASE_STATUS, OrtStatus *)(failed); /* it refuses before it begins: outside of a run */
  }
  split_run_here(context, task, count, of);
}

static OrtStatus *compute(void *kernel, void *context) {
  int64_t axes[MOST_AXES], weight_axes[MOST_AXES], columns;
  size_t count, weight_count, bias_count;
  const void *x, *weights, *bias;
  void *output, *y;
  TRY(input_of(context, 0, &x, axes, &count));
  TRY(input_of(context, 1, &weights, weight_axes, &weight_count));
  TRY(input_of(context, 2, &bias, &columns, &bias_count));
  if (!count || weight_count != 3 || bias_count != 1)
    return failure(INVALID_ARGUMENT, "a split matrix product of other inputs than expected");
  int64_t rows = 1, inner = axes[count - 1];
  for (size_t axis = 0; axis + 1 < count; axis++) rows *= axes[axis];
  int64_t panels = (columns + SPLIT_PANEL - 1) / SPLIT_PANEL, steps = (inner + SPLIT_STEP - 1) / SPLIT_STEP;
  if (weight_axes[0] != panels || weight_axes[1] != steps || weight_axes[2] != SPLIT_STEP_SIZE)
    return failure(INVALID_ARGUMENT, "the last axis of a split matrix product's input does not fit its weights");
  axes[count - 1] = columns;
  TRY(ORT(GET_OUTPUT, void *, size_t, const int64_t *, size_t, void **)(context, 0, axes, count, &output));
  TRY(ORT(TENSOR_DATA, void *, void **)(output, &y));
  split_product product = {x, rows, inner, columns, weights, bias, *(const enum split_activation *)kernel, y};
  bool is_done = split_matmul(&product, run_in_session, context);
  return is_done ? NULL : failure(RUNTIME_EXCEPTION, "failed to allocate memory for a matrix product");
}

/* --- the operators: OrtCustomOp as of version 17 --------------------------------------------------------------------- */

typedef struct Operator Operator;
struct Operator {
  uint32_t version;
  void *(*create_kernel)(const Operator *, const OrtFunction *, const void *);
  const char *(*name)(const Operator *);
  const char *(*provider)(const Operator *);
  int (*input_type)(const Operator *, size_t);
  size_t (*input_count)(const Operator *);
  int (*output_type)(const Operator *, size_t);
  size_t (*output_count)(const Operator *);
  void (*compute)(void *, void *);
  void (*destroy_kernel)(void *);
  int (*input_kind)(const Operator *, size_t);
  int (*output_kind)(const Operator *, size_t);
  int (*input_memory)(const Operator *, size_t);
  int (*least_inputs)(const Operator *);
  int (*inputs_alike)(const Operator *);
  int (*least_outputs)(const Operator *);
  int (*outputs_alike)(const Operator *);
  OrtStatus *(*create_kernel_v2)(const Operator *, const OrtFunction *, const void *, void **);
  OrtStatus *(*compute_v2)(void *, void *);
  void *infer_shape; /* optional, as what follows: versions of an operator, memory of inputs used again */
  void *rest[6];
  enum split_activation activation; /* ours */
};

static OrtStatus *create(const Operator *self, const OrtFunction *table, const void *info, void **kernel) {
  (void)table, (void)info;
  *kernel = (void *)&self->activation; /* there is nothing else to know */
  return NULL;
}
static void destroy(void *kernel) { (void)kernel; }
static const char *name(const Operator *self) { return self->activation ? "SplitMatMulGelu" : "SplitMatMul"; }
static const char *cpu(const Operator *self) { return (void)self, NULL; }
static int input_type(const Operator *self, size_t index) { return (void)self, index == 1 ? 4 /* UINT16 */ : 1 /* FLOAT */; }
static int output_type(const Operator *self, size_t index) { return (void)self, (void)index, 1; }
static size_t three(const Operator *self) { return (void)self, 3; }
static size_t one(const Operator *self) { return (void)self, 1; }
static int usual(const Operator *self, size_t index) { return (void)self, (void)index, 0; } /* required; memory of a CPU */
static int yes(const Operator *self) { return (void)self, 1; }

#define OPERATOR(kind)                                                                                                   \
  {                                                                                                                      \
    .version = API_VERSION, .name = name, .provider = cpu, .input_type = input_type, .input_count = three,               \
    .output_type = output_type, .output_count = one, .destroy_kernel = destroy, .input_kind = usual,                     \
    .output_kind = usual,    .input_memory = usual, .least_inputs = yes, .inputs_alike = yes, .least_outputs = yes,      \
    .outputs_alike = yes, .create_kernel_v2 = create, .compute_v2 = compute, .activation = kind                          \
  }

static const Operator operators[] = {OPERATOR(SPLIT_NOTHING), OPERATOR(SPLIT_GELU)};

/* Called by ONNX Runtime for each session, from any thread. The domain is made once and stays. */
OrtStatus *RegisterCustomOps(void *options, const OrtApiBase *base) {
  static void *domain;
  const OrtFunction *table = base->get_api(API_VERSION);
  if (!table) return NULL; /* cannot say so without a table; the session will miss the operator, and does */
  __atomic_store_n(&api, table, __ATOMIC_RELEASE);
  if (!split_matmul_is_ready()) return failure(RUNTIME_EXCEPTION, "this processor has no bfloat16 tiles (AMX)");
  void *known = __atomic_load_n(&domain, __ATOMIC_ACQUIRE);
  if (!known) {
    TRY(ORT(CREATE_DOMAIN, const char *, void **)("roundhouse", &known));
    for (size_t each = 0; each < sizeof operators / sizeof *operators; each++)
      TRY(ORT(ADD_OP, void *, const Operator *)(known, &operators[each]));
    void *before = NULL; /* two at once: the second one's domain is left to itself, some bytes */
    if (!__atomic_compare_exchange_n(&domain, &before, known, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) known = before;
  }
  return ORT(ADD_DOMAIN, void *, void *)(options, known);
}

/* --- for tests, which have no session ---------------------------------------------------------------------------------- */

bool split_matmul_here(const split_product *product) { return split_matmul(product, split_run_here, NULL); }

/* A fake external delegate for a real TensorFlow Lite Interpreter, compiled by the tests into what a board's vendor ships:
 * with -DEDGE_TPU libedgetpu.so.1, else any other delegate. The declarations are those of tensorflow/lite/core/c/common.h,
 * as far as they are used; the failures of the Edge TPU are libedgetpu's (edgetpu_delegate_for_custom_op_tflite_plugin.cc).
 *
 * FAKE_TAKES    codes of the operators it takes (schema.fbs, BuiltinOperator), commas between; the Edge TPU: its custom operator
 * FAKE_DEVICES  devices of the Edge TPU: 'u' and 'p' for one on USB and PCIe, in order; "u" unless set
 * FAKE_REFUSES  if set, the delegate is NULL, and nothing is said
 *
 * Its kernels write numbers that follow from their first input. Destroyed before the interpreter that uses it, it aborts.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int size; int data[]; } IntArray;
typedef struct { int type; void *params; } Quantization;
typedef struct {
  int type;
  unsigned char *data;
  IntArray *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  Quantization quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;
typedef struct { IntArray *inputs, *outputs; } Node;
typedef struct Context Context;
typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *later[8]; /* newer versions have more members; zero stands for none */
} Registration;
typedef struct Delegate {
  void *data;
  int (*prepare)(Context *, struct Delegate *);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *later[8];
} Delegate;
struct Context {
  size_t tensors_size;
  int (*get_execution_plan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  void *resize_tensor;
  void (*report_error)(Context *, const char *, ...);
  void *add_tensors;
  int (*get_node)(Context *, int, Node **, Registration **);
  int (*replace_nodes)(Context *, Registration, const IntArray *, Delegate *);
};
enum { OK = 0, FAILED = 1, FLOAT32 = 1, READ_ONLY = 1, ALLOW_DYNAMIC_TENSORS = 1 };

static int kernels;

static void *kernel_init(Context *context, const char *buffer, size_t length) {
  return &kernels + 0 * ++kernels;
}

static void kernel_free(Context *context, void *data) { --kernels; }

static int kernel_prepare(Context *context, Node *node) { return OK; }

static int kernel_invoke(Context *context, Node *node) {
  const Tensor *in = NULL;
  for (int i = node->inputs->size - 1; i >= 0; --i) {
    const Tensor *tensor = &context->tensors[node->inputs->data[i]];
    if (tensor->allocation_type != READ_ONLY && tensor->data) in = tensor;
  }
  if (!in) return FAILED;
  for (int o = 0; o < node->outputs->size; ++o) {
    Tensor *out = &context->tensors[node->outputs->data[o]];
    size_t size = out->type == FLOAT32 ? sizeof(float) : 1;
    for (size_t i = 0; i < out->bytes / size; ++i) {
      uint32_t sum = 17 * o;
      for (size_t k = 0; k < 16; ++k) sum += in->data[(i * 31 + k * 7919) % in->bytes] * (2 * k + 1);
      if (size == 1) out->data[i] = sum;
      else ((float *)out->data)[i] = (sum % 1000) / 1000.0f;
    }
  }
  return OK;
}

static bool takes(const Registration *registration) {
#ifdef EDGE_TPU
  return registration->custom_name && !strcmp(registration->custom_name, "edgetpu-custom-op");
#else
  const char *codes = getenv("FAKE_TAKES");
  char wanted[16], list[256];
  snprintf(wanted, sizeof wanted, ",%d,", (int)registration->builtin_code);
  snprintf(list, sizeof list, ",%s,", codes ? codes : "");
  return strstr(list, wanted) != NULL;
#endif
}

static int delegate_prepare(Context *context, Delegate *delegate) {
  IntArray *plan, *taken;
  if (context->get_execution_plan(context, &plan) != OK) return FAILED;
  taken = calloc(1, sizeof *taken + plan->size * sizeof(int));
  for (int i = 0; i < plan->size; ++i) {
    Node *node;
    Registration *registration;
    if (context->get_node(context, plan->data[i], &node, &registration) != OK) return FAILED;
    if (takes(registration)) taken->data[taken->size++] = plan->data[i];
  }
  Registration kernel = {kernel_init, kernel_free, kernel_prepare, kernel_invoke};
  kernel.custom_name = "FakeDelegate";
  kernel.version = 1;
  int status = context->replace_nodes(context, kernel, taken, delegate);
  free(taken);
  return status;
}

#ifdef EDGE_TPU
#ifdef THROTTLED
__attribute__((used)) static const char performance[] = "PERFORMANCE=THROTTLED";
#else
__attribute__((used)) static const char performance[] = "PERFORMANCE=DIRECT";
#endif
struct device { int type; const char *path; };

static const char *fake_devices(void) {
  const char *found = getenv("FAKE_DEVICES");
  return found ? found : "u";
}

struct device *edgetpu_list_devices(size_t *count) {
  const char *kinds = fake_devices();
  *count = strlen(kinds);
  if (!*count) return NULL;
  struct device *found = calloc(*count, sizeof *found);
  for (size_t i = 0; i < *count; ++i) {
    found[i].type = kinds[i] == 'u';
    found[i].path = kinds[i] == 'u' ? "/sys/bus/usb/devices/2-1" : "/dev/apex_0";
  }
  return found;
}

void edgetpu_free_devices(struct device *devices) { free(devices); }

const char *edgetpu_version(void) { return "BuildLabel(N/A), RuntimeVersion(14)"; }

static bool opens(const char *device, const char *performance_asked) {
  int index = -1, at = 0;
  char kind = *device == 'u' || *device == 'p' ? *device : 0;
  const char *colon = strchr(device, ':');
  if (colon) index = atoi(colon + 1);
  if (performance_asked && colon && !strstr("Low Medium High Max", performance_asked)) return false;
  for (const char *found = fake_devices(); *found; ++found)
    if ((!kind || *found == kind) && (index < 0 || at++ == index)) return true;
  return false;
}
#endif

Delegate *tflite_plugin_create_delegate(char **keys, char **values, int count, void (*report)(const char *)) {
  const char *device = "", *asked = NULL;
  for (int i = 0; i < count; ++i) {
    fprintf(stderr, "fake delegate: %s=%s\n", keys[i], values[i]);
    if (!strcmp(keys[i], "device")) device = values[i];
    if (!strcmp(keys[i], "Performance")) asked = values[i];
  }
  if (getenv("FAKE_REFUSES")) return NULL;
#ifdef EDGE_TPU
  if (!opens(device, asked)) return NULL;
#endif
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->prepare = delegate_prepare;
  delegate->flags = ALLOW_DYNAMIC_TENSORS; /* else custom operators are prepared, and fail, before it can take them */
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) {
  if (delegate && kernels) abort();
  free(delegate);
}

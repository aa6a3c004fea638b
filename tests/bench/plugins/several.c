/* Several operators of one family in one file, two of them of one name; `scaled` is wrong. */
#include <math.h>

#include "kernels/plugin.h"

static const char* unsupported(const rtfq_operator* self, const void* shape) {
  (void)self;
  return ((const rtfq_elementwise_shape*)shape)->type == RTFQ_F32 ? NULL : "takes f32 only";
}

static int launch(const rtfq_operator* self, void* state, const void* shape, const void* args, void* stream) {
  const rtfq_relu_forward_args* a = args;
  const int64_t count = ((const rtfq_elementwise_shape*)shape)->count;
  const float factor = self->name[0] == 's' ? 2 : 1;
  (void)state, (void)stream;
  for (int64_t i = 0; i < count; ++i) {
    const float x = ((const float*)a->x)[i];
    ((float*)a->y)[i] = x < 0 ? 0 : factor * x;
  }
  return 0;
}

#define OPERATOR(NAME) \
  {.family = "relu.forward", .name = NAME, .device = RTFQ_CPU, .unsupported = unsupported, .launch = launch}
static const rtfq_operator plain = OPERATOR("plain"), again = OPERATOR("plain"), scaled = OPERATOR("scaled");
static const rtfq_operator* const operators[] = {&plain, &scaled, &again};
static const rtfq_plugin table = {RTFQ_PLUGIN_ABI, 0, "several", "1", 3, operators};

const rtfq_plugin* rtfq_plugin_entry(uint32_t host_abi) {
  (void)host_abi;
  return &table;
}

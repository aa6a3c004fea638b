/* kernels/shapes.h as plain C; shapes.cpp compares what C sees with what C++ sees. */
#include <stddef.h>

#include "kernels/shapes.h"

size_t rtfq_test_shapes_in_c(size_t* out);
int64_t rtfq_test_fakequant_elements_in_c(const rtfq_fakequant_shape* shape);

/* Size and the last field's offset of each struct; returns how many numbers were written. */
size_t rtfq_test_shapes_in_c(size_t* out) {
  const size_t layout[] = {
      sizeof(rtfq_conv2d_shape),      offsetof(rtfq_conv2d_shape, y_type),
      sizeof(rtfq_linear_shape),      offsetof(rtfq_linear_shape, y_type),
      sizeof(rtfq_fakequant_shape),   offsetof(rtfq_fakequant_shape, type),
      sizeof(rtfq_batchnorm_shape),   offsetof(rtfq_batchnorm_shape, type),
      sizeof(rtfq_elementwise_shape), offsetof(rtfq_elementwise_shape, type),
      sizeof(rtfq_convert_shape),     offsetof(rtfq_convert_shape, to),
      sizeof(rtfq_pool_shape),        offsetof(rtfq_pool_shape, type),
      sizeof(rtfq_resize_shape),      offsetof(rtfq_resize_shape, antialias),
      sizeof(rtfq_logits_shape),      offsetof(rtfq_logits_shape, k),
  };
  const size_t count = sizeof layout / sizeof layout[0];
  for (size_t i = 0; i < count; ++i) out[i] = layout[i];
  return count;
}

int64_t rtfq_test_fakequant_elements_in_c(const rtfq_fakequant_shape* shape) {
  return shape->rows * shape->groups * shape->cols;
}

// kernels/shapes.h means the same to C and to C++.
#include "kernels/shapes.h"

#include <catch2/catch.hpp>
#include <cstddef>
#include <vector>

#include "kernels/fakequant.h"

extern "C" {
std::size_t rtfq_test_shapes_in_c(std::size_t* out);
int64_t rtfq_test_fakequant_elements_in_c(const rtfq_fakequant_shape*);
}

TEST_CASE("shapes: the same layout in C and C++") {
  const std::vector<std::size_t> here{sizeof(rtfq_conv2d_shape),      offsetof(rtfq_conv2d_shape, y_type),
                                      sizeof(rtfq_linear_shape),      offsetof(rtfq_linear_shape, y_type),
                                      sizeof(rtfq_fakequant_shape),   offsetof(rtfq_fakequant_shape, type),
                                      sizeof(rtfq_batchnorm_shape),   offsetof(rtfq_batchnorm_shape, type),
                                      sizeof(rtfq_elementwise_shape), offsetof(rtfq_elementwise_shape, type),
                                      sizeof(rtfq_convert_shape),     offsetof(rtfq_convert_shape, to),
                                      sizeof(rtfq_pool_shape),        offsetof(rtfq_pool_shape, type),
                                      sizeof(rtfq_resize_shape),      offsetof(rtfq_resize_shape, antialias),
                                      sizeof(rtfq_logits_shape),      offsetof(rtfq_logits_shape, k)};
  std::vector<std::size_t> in_c(64);
  in_c.resize(rtfq_test_shapes_in_c(in_c.data()));
  CHECK(in_c == here);
  const auto shape = rtfq::kernels::make_fakequant_weight_shape(5, 9, 7, 10, {8, 7}, true);
  CHECK(rtfq_test_fakequant_elements_in_c(&shape) == rtfq::kernels::count(shape));
}

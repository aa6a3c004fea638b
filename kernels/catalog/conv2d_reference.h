#pragma once
// What the convolution's catalog files share: a case, and the fp64 references on operands given as floats
// (codes and bf16 values are floats too).

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/catalog/catalog.h"
#include "kernels/conv2d.h"

namespace rtfq::kernels::catalog {

struct Conv2dCase {
  const char* name;
  int64_t n, h, w, c, k, filter, stride, pad;
  int64_t c_parent = 0, k_parent = 0;  ///< 0: as many as active
  Conv2dShape shape() const {
    return make_conv2d_shape(n, h, w, c, k, filter, stride, pad, c_parent ? c_parent : c);
  }
  std::size_t parent_size() const {
    return static_cast<std::size_t>((k_parent ? k_parent : k) * filter * filter * (c_parent ? c_parent : c));
  }
};

/// Codes over their whole range, or small integers; the ends of it, which saturate where products are added
/// in 16 bits; or its two greatest values, so that results lie far from zero and close together.
enum class Conv2dData { random, extreme, far };
/// The forward pass on operands that make it exact: sums of small integers in f32 and sums of codes in s32.
std::unique_ptr<Problem<Conv2dForward>> conv2d_exact_problem(const Conv2dCase&, rtfq_dtype x, rtfq_dtype w,
                                                             rtfq_dtype y, Conv2dData);

std::size_t conv2d_count_x(const Conv2dShape&);
std::size_t conv2d_count_y(const Conv2dShape&);

/// Codes from `low` to `high`, as floats; `extreme`: mostly the greatest, else the least, so that sums are as
/// large as they get.
std::vector<float> codes_between(int low, int high, std::size_t count, uint64_t seed, bool extreme);

/// Fills scale [k], and makes of sums of codes, [..., k] or at these elements of it, what scale[k] * f32(sum)
/// is.
void scale_sums(std::span<float> scale, std::vector<double>* sums, const std::vector<std::size_t>& at = {});

/// `weights` is the parent's first element.
std::vector<double> conv2d_reference_forward(const Conv2dShape&, const float* x, const float* weights);
/// The same at these elements of y alone; all of it where there are none.
std::vector<double> conv2d_reference_forward(const Conv2dShape&, const float* x, const float* weights,
                                             const std::vector<std::size_t>& at);
std::vector<double> conv2d_reference_dgrad(const Conv2dShape&, const float* g, const float* weights);
/// Adds the gradient to the slice inside `dw`, the parent's values.
void conv2d_reference_wgrad(const Conv2dShape&, const float* x, const float* g, std::vector<double>* dw);

/// Cases of the rows of types beside f32.
void add_conv2d_types(std::vector<Entry>* list, const Conv2dCase&, bool large);
/// Cases of f32 whose operands are rounded to TF32 (conv2d_tf32.cpp).
void add_conv2d_tf32(std::vector<Entry>* list, const Conv2dCase&, bool large);

/// Places of a slice's weights in its parent, in order.
std::vector<std::size_t> conv2d_slice(const Conv2dShape&);

}  // namespace rtfq::kernels::catalog

#pragma once
// What the problems of custom.h share.

#include "kernels/catalog/conv2d_reference.h"
#include "kernels/catalog/custom.h"
#include "kernels/catalog/fakequant_problem.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog::custom_parts {

/// Reads an operator's dims; what was not read is unknown.
class Dims {
 public:
  explicit Dims(const CustomRequest& request) : request_(request) {}
  bool has(const char* name) const { return request_.dims.count(name) > 0; }
  int64_t need(const char* name);
  int64_t get(const char* name, int64_t otherwise);
  /// Throws when there were others.
  void finish() const;

 private:
  const CustomRequest& request_;
  std::vector<std::string> read_;
};

[[noreturn]] void refuse(const CustomRequest&, const std::string& text);

/// Values as the request wants them, drawn for the first 2^18 - 37 and repeated.
void fill(const CustomRequest&, float* x, std::size_t count, uint64_t seed, float mean = 0,
          float deviation = 1);

/// Throws unless operands are f32 or bf16, or f16 where that is taken.
void require_types(const CustomRequest&, bool f16 = false);

/// An operand of the request's type; `values` become what it holds.
template <class Op>
void* operand(Problem<Op>& problem, const CustomRequest& request, std::vector<float>* values,
              std::size_t count, uint64_t seed) {
  values->resize(count);
  fill(request, values->data(), count, seed);
  return add_operand(&problem, request.type, values);
}

/// The dims of a convolution, without the name.
Conv2dCase conv2d_case(Dims&);

/// Where the segments of n images end: the images shared out evenly.
std::vector<int64_t> segment_ends(const CustomRequest&, Dims&);

/// How many sums of so many terms are compared where not all of them are: some thousand, fewer of long ones.
std::size_t samples(double terms);

/// Up to `wanted` indices below `count`, ascending, the first and the last among them.
std::vector<std::size_t> sample(std::size_t count, std::size_t wanted, uint64_t seed);

std::unique_ptr<Instance> conv2d(const CustomRequest&);
std::unique_ptr<Instance> linear(const CustomRequest&);
std::unique_ptr<Instance> batchnorm(const CustomRequest&);
std::unique_ptr<Instance> elementwise(const CustomRequest&);
std::unique_ptr<Instance> fakequant(const CustomRequest&);
std::unique_ptr<Instance> normquant(const CustomRequest&);
std::unique_ptr<Instance> convquant(const CustomRequest&);
std::unique_ptr<Instance> int4(const CustomRequest&);
std::unique_ptr<Instance> pool(const CustomRequest&);
std::unique_ptr<Instance> loss(const CustomRequest&);
std::unique_ptr<Instance> optimizer(const CustomRequest&);
std::unique_ptr<Instance> image(const CustomRequest&);

/// The case of fake-quant that the request's dims, bits and data make.
quantizer::Case quantizer_case(const CustomRequest&);

template <class Op>
std::unique_ptr<Instance> instance_of(std::unique_ptr<Problem<Op>> problem) {
  return std::make_unique<ProblemInstance<Op>>(std::move(problem));
}

}  // namespace rtfq::kernels::catalog::custom_parts

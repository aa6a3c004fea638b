#pragma once
// Problems on shapes of the caller's choice, for the kernel lab: the operators, references and tolerances of
// the catalog without its list of cases. Convolutions and linear layers are compared at sampled elements,
// everything else whole.

#include <map>

#include "kernels/catalog/catalog.h"

namespace rtfq::kernels::catalog {

enum class Fill {
  special,  ///< what is hard to get right: ties, borders, NaN, infinities where the operator is to stand them
  normal,
  zeros,
  given  ///< values of the caller's, repeated
};

struct CustomRequest {
  std::string op;                       ///< "fakequant.forward"
  std::map<std::string, int64_t> dims;  ///< as dims_text(op) names them
  rtfq_dtype type = RTFQ_F32;
  int bits = 4;            ///< of quantizers
  bool is_signed = false;  ///< of quantizers
  Fill fill = Fill::normal;
  std::shared_ptr<const std::vector<float>> given{};
  float step = 0.0371f;  ///< of quantizers
  Contract contract{};
  bool reference = true;  ///< false: for timing only, nothing is expected of the outputs
};

/// What an operator's dims are called, for help and errors: "count | k,rs,c[,of][,per_row]"; empty: it takes
/// none, its shapes are those of the catalog.
std::string dims_text(const std::string& op);

/// Throws std::invalid_argument ("[OP] expected ...") for dims that are missing, unknown or make no shape,
/// and for types that the operator has no reference for.
std::unique_ptr<Instance> custom(const CustomRequest&);

}  // namespace rtfq::kernels::catalog

#include "kernels/operator.h"

#include <map>
#include <stdexcept>

namespace rtfq::kernels {
namespace {

std::map<std::string, std::string>& preferences() {
  static std::map<std::string, std::string> map;
  return map;
}

}  // namespace

void prefer(const std::string& op, const std::string& implementation) { preferences()[op] = implementation; }

const std::string& preference(const std::string& op) {
  static const std::string none;
  const auto& map = preferences();
  const auto found = map.find(op);
  return found == map.end() ? none : found->second;
}

int64_t element_bytes(rtfq_dtype type) {
  switch (type) {
    case RTFQ_U8:
    case RTFQ_S8: return 1;
    case RTFQ_BF16:
    case RTFQ_F16: return 2;
    case RTFQ_F32:
    case RTFQ_S32: return 4;
  }
  throw std::logic_error("[kernels] unknown element type " + std::to_string(static_cast<int>(type)));
}

const char* type_name(rtfq_dtype type) {
  switch (type) {
    case RTFQ_F32: return "f32";
    case RTFQ_BF16: return "bf16";
    case RTFQ_F16: return "f16";
    case RTFQ_U8: return "u8";
    case RTFQ_S8: return "s8";
    case RTFQ_S32: return "s32";
  }
  return "?";
}

void throw_no_implementation(const char* op, const std::string& reasons) {
  throw std::runtime_error(std::string("[") + op + "] no implementation takes this shape" + reasons);
}

}  // namespace rtfq::kernels

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

void throw_no_implementation(const char* op, const std::string& reasons) {
  throw std::runtime_error(std::string("[") + op + "] no implementation takes this shape" + reasons);
}

}  // namespace rtfq::kernels

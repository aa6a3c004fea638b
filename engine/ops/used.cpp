#include "engine/ops/used.h"

#include <mutex>
#include <set>

namespace rtfq::ops {
namespace {

struct Used {
  std::mutex mutex;
  std::set<std::pair<kernels::Backend, std::string>> names;
};

Used& used() {
  static Used all;
  return all;
}

}  // namespace

void note_used(kernels::Backend backend, const char* op, const char* implementation) {
  const std::lock_guard lock(used().mutex);
  used().names.emplace(backend, std::string(op) + ": " + implementation);
}

std::vector<std::string> used_implementations(kernels::Backend backend) {
  const std::lock_guard lock(used().mutex);
  std::vector<std::string> names;
  for (const auto& [of, name] : used().names)
    if (of == backend) names.push_back(name);
  return names;
}

}  // namespace rtfq::ops

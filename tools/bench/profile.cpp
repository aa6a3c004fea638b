#include "tools/bench/profile.h"

#include <cstdio>

#include "kernels/plugin/host.h"
#include "tools/bench/subject.h"
#include "tools/command.h"

extern "C" {
void rtfq_profile_start();
void rtfq_profile_stop();
[[gnu::noinline]] void rtfq_profile_start() {
  asm volatile("");
}
[[gnu::noinline]] void rtfq_profile_stop() {
  asm volatile("");
}
}

namespace rtfq::lab {

int profile(const std::vector<Item>& items, const std::vector<std::string>& plugins) {
  if (items.size() != 1)
    throw cli::UsageError("[run] --profile launches one item, and these options mean " +
                          std::to_string(items.size()) + ": name one implementation and one shape");
  for (const std::string& file : plugins) kernels::plugin::load(file);
  const Item& item = items.front();
  const auto instance = make_instance(item, false);
  instance->prepare(kernels::parse_device(item.device).backend, item.implementation);
  rtfq_profile_start();
  instance->launch();
  rtfq_profile_stop();
  std::printf("launched %s once\n", item.name().c_str());
  return cli::done;
}

}  // namespace rtfq::lab

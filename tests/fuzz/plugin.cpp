// The launch description of a cubin, and the cubin itself: the part of plug-ins that is data. Input: the
// description, a line of four dashes, the cubin.
#include "kernels/plugin/cubin.h"
#include "tests/fuzz/fuzz.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const fuzz::Memory memory(size, 512);
  const std::string text = fuzz::text_of(data, size);
  const std::size_t mark = std::min(text.find("\n----\n"), text.size());
  fuzz::folder().write("k.cubin", mark < text.size() ? text.substr(mark + 6) : std::string());
  const std::string description = fuzz::folder().write("plugin.json", text.substr(0, mark));
  fuzz::accepts([&] { kernels::plugin::open_cubin(description); });
  return 0;
}

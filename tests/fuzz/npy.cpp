// NumPy's arrays.
#include "engine/formats/npy.h"

#include "tests/fuzz/fuzz.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const fuzz::Memory memory(size, 64);
  formats::ArrayView array;
  if (!fuzz::accepts([&] { array = formats::read_npy({data, size}); }, true)) return 0;
  const std::vector<float> values = formats::to_f32(array);
  fuzz::require(values.size() == static_cast<std::size_t>(array.count()),
                "values that the shape does not have");
  fuzz::require(values.size() <= size, "more values than bytes");
  return 0;
}

// What torch.save writes: zip archives and pickles.
#include "engine/formats/tensor_list.h"
#include "tests/fuzz/fuzz.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const fuzz::Memory memory(size, 512);
  formats::TensorList list;
  if (!fuzz::accepts([&] { list = formats::read_torch({data, size}); }, true)) return 0;
  std::size_t elements = 0;
  for (const formats::NamedArray& named : list.tensors) {
    fuzz::require(named.array.count() >= 0, "a tensor of a negative size");
    fuzz::require(static_cast<std::size_t>(named.array.count()) <= named.array.storage.size(),
                  "a tensor that is larger than its storage");
    elements += static_cast<std::size_t>(named.array.count());
    if (elements < 1 << 20) formats::to_f32(named.array);
  }
  return 0;
}

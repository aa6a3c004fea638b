// Our checkpoints' format, by the reader of our own files and by the one for files of any writer.
#include "engine/safetensors.h"

#include "engine/formats/tensor_list.h"
#include "tests/fuzz/fuzz.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const fuzz::Memory memory(size, 256);
  const std::string path = fuzz::folder().write("x.safetensors", fuzz::text_of(data, size));
  TensorFile file;
  if (fuzz::accepts([&] { file = load_tensors(path); })) {
    const std::string copy = fuzz::folder().path("copy.safetensors");
    save_tensors(copy, file);
    const TensorFile again = load_tensors(copy);
    fuzz::require(again.metadata == file.metadata, "metadata changes when it is written");
    fuzz::require(again.tensors.size() == file.tensors.size(), "tensors are lost when they are written");
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < file.tensors.size(); ++i) {
      fuzz::require(again.tensors[i].first == file.tensors[i].first, "a tensor changes its name");
      fuzz::require(again.tensors[i].second.dims() == file.tensors[i].second.dims(),
                    "a tensor changes its shape");
      bytes += file.tensors[i].second.bytes();
    }
    fuzz::require(bytes <= size, "more data than the file has");
  }
  fuzz::accepts([&] { load_metadata(path); });
  fuzz::accepts([&] { formats::read_safetensors({data, size}); }, true);
  return 0;
}

// List files. No accepted sample leaves the folder of the list.
#include "data/dataset.h"
#include "tests/fuzz/fuzz.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  // A label may mean as many as 65,536 classes.
  const fuzz::Memory memory(size, 512, std::size_t{8} << 20);
  static const bool made = [] {
    std::filesystem::create_directories(fuzz::folder().path("b"));
    for (const char* name : {"a.png", "b/c d.jpg", "../rtfq-outside.png"}) fuzz::folder().write(name, "x");
    return true;
  }();
  (void)made;
  const std::string list = fuzz::folder().write("list.txt", fuzz::text_of(data, size));
  for (const std::vector<std::string>& classes : {std::vector<std::string>{}, {"cat", "mouse pad"}}) {
    data::Dataset dataset;
    if (!fuzz::accepts([&] { dataset = data::open_dataset(list, classes); })) continue;
    fuzz::require(!dataset.samples.empty(), "a list without images");
    fuzz::require(dataset.classes.size() <= std::max<std::size_t>(1 << 16, dataset.samples.size() + 1),
                  "more classes than a list of its size has");
    const std::string root = std::filesystem::canonical(fuzz::folder().path("")).string();
    for (const data::Sample& sample : dataset.samples) {
      fuzz::require(std::filesystem::canonical(sample.path).string().starts_with(root),
                    "a path outside of its root");
      fuzz::require(sample.label < static_cast<int>(dataset.classes.size()), "a label without a class");
    }
  }
  return 0;
}

// Every member of the configuration structs has its key: a member without one could be set by nobody, and a
// checkpoint would forget it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>

#include "training/config_schema.h"

using namespace rtfq;

namespace {

/// Initializes a member of any type.
struct Anything {
  template <class T>
  operator T() const;
};

template <class Struct, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires {
    Struct{(static_cast<void>(I), Anything{})...};
  };
}

/// Members of an aggregate: the most initializers that it takes.
template <class Struct, std::size_t N = 0>
constexpr std::size_t members() {
  if constexpr (takes<Struct>(std::make_index_sequence<N + 1>{}))
    return members<Struct, N + 1>();
  else
    return N;
}

struct Three {
  std::vector<int> a;
  data::Augmentation b;
  std::string c;
};
static_assert(members<Three>() == 3);

/// Keys "section.name"; of "" those without a dot.
std::size_t keys_of(const std::string& section) {
  const std::string prefix = section.empty() ? "" : section + ".";
  const auto& fields = schema::fields();
  return static_cast<std::size_t>(
      std::count_if(fields.begin(), fields.end(), [&](const schema::Field& field) {
        return field.key.rfind(prefix, 0) == 0 && field.key.find('.', prefix.size()) == field.key.npos;
      }));
}

}  // namespace

TEST_CASE("config: no member lacks a key") {
  CHECK(keys_of("data") + 1 == members<DataConfig>());  // and the augmentation
  // The augmentation's `resize`, `squash` and `bicubic` are data.resize, data.resize_mode, data.interpolation.
  CHECK(keys_of("data.augmentation") + 3 == members<data::Augmentation>());
  CHECK(keys_of("model") + 1 == members<ModelConfig>());  // and the bank
  CHECK(keys_of("bank") == members<Bank>());
  CHECK(keys_of("loss") == members<LossConfig>());
  CHECK(keys_of("optimizer") == members<OptimizerConfig>());
  CHECK(keys_of("train") == members<TrainConfig>());
  // precision, device, threads, and the bank, which is a member of the model; five sections.
  CHECK(keys_of("") - 1 + 5 == members<Config>());
}

// Configurations. What is accepted prints as one that reads back the same.
#include "training/config.h"

#include "tests/fuzz/fuzz.h"

using namespace rtfq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const fuzz::Memory memory(size, 512);
  // A last line "key=value" is a setting of the command line.
  std::string text = fuzz::text_of(data, size);
  std::vector<std::string> settings;
  if (const std::size_t mark = text.find("\n--set "); mark != text.npos) {
    settings.push_back(text.substr(mark + 7));
    text.resize(mark);
  }
  Config config;
  if (!fuzz::accepts([&] { config = parse_config(text, "fuzz", settings); })) return 0;
  const std::string json = to_json(config);
  fuzz::require(to_json(parse_config(json, "again")) == json,
                "a configuration that is not itself when read again");
  fuzz::require(to_json(parse_config(commented(config), "comments")) == json,
                "its commented form is another one");
  return 0;
}

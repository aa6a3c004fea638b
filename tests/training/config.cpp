// Configuration files: what is read, what is refused and with which words, what is printed.
#include "training/config.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "training/config_schema.h"

using namespace rtfq;
using Catch::Matchers::Contains;

namespace {

Config parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_config(text, "test.jsonc", overrides);
}

std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

bool same(const Config& a, const Config& b) {
  return schema::differing_keys(a, b).empty();
}

/// Another value that a key accepts: what a round trip must carry.
Json other_value(const schema::Field& field, const Config& config) {
  static const std::map<std::string, Json> chosen{{"data.channels", 3},
                                                  {"data.mean", {0.1, 0.2, 0.3}},
                                                  {"data.deviation", {0.7, 0.8, 0.9}},
                                                  {"data.bad_images", "skip"},
                                                  {"train.on_divergence", "retreat"},
                                                  {"model.arch", "resnet34"},
                                                  {"model.residual", "codes"},
                                                  {"model.first_last_bits", 5},
                                                  {"bank", "small48"},
                                                  {"optimizer.schedule", "one_cycle"},
                                                  {"optimizer.momentum", 0.37},
                                                  {"train.method", "source_only"},
                                                  {"train.sampler", "uniform"},
                                                  {"loss.ensemble", "largest"},
                                                  {"train.steps", 12345},
                                                  {"train.seed", uint64_t{18446744073709551615u}},
                                                  {"data.augmentation.scale", 0.5},
                                                  {"data.augmentation.hue", 0.25},
                                                  {"precision", "int8"},
                                                  {"device", "simt"},
                                                  {"model.step_init", "mse"},
                                                  {"model.step_gradient", "none"},
                                                  {"model.bits_exceptions", {"stage1.*=8", "stem=4"}},
                                                  {"model.norm_affine", "subnet"},
                                                  {"loss.pseudo_source", "teacher"},
                                                  {"loss.information_prior", "teacher"},
                                                  {"train.subnet", "width=0.75,bits=4"},
                                                  {"train.teacher_update", "before"},
                                                  {"train.teacher_view", "plain"},
                                                  {"data.hold_out", 5},
                                                  {"data.source_hold_out", 5},
                                                  {"data.resize", 300},
                                                  {"data.resize_mode", "squash"},
                                                  {"data.interpolation", "bicubic"},
                                                  {"data.jpeg", "stb"},
                                                  {"train.teacher_decay", 0.123}};
  if (const auto it = chosen.find(field.key); it != chosen.end()) return it->second;
  const Json value = field.write(config);
  if (value.is_string()) return "a \"quoted\" //path";
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number_integer()) return value.get<int64_t>() + 1;
  return value.get<double>() * 0.5 + 0.0625;
}

}  // namespace

TEST_CASE("config: comments and trailing commas") {
  const Config config = parse(R"({
    // a comment with "quotes", a comma,} and a bracket
    "train": {"steps": 70, /* , } */ "seed": 9, },
    "data": {"source": "a,]//b/*c", "mean": [0.5, /* last */ ], "deviation": [0.25,], "channels": 1,},
  })");
  CHECK(config.train.steps == 70);
  CHECK(config.train.seed == 9);
  CHECK(config.data.source == "a,]//b/*c");
  CHECK(config.data.mean == std::vector<float>{0.5f});
}

TEST_CASE("config: a comma too many is still an error") {
  CHECK_THAT(refusal(R"({"train": {,}})"), Contains("line 1"));
  CHECK_THAT(refusal("{\n\"train\": {\"steps\": 7,,}}"), Contains("line 2"));
  CHECK_THAT(refusal(R"({"data": {"mean": [,]}})"), Contains("test.jsonc"));
  CHECK_THAT(refusal(R"({"train": {"steps": 7})"), Contains("test.jsonc"));
}

TEST_CASE("config: defaults") {
  const Config config = parse("{}");
  CHECK(config.model.arch == "resnet50");
  CHECK(config.model.bank == bank_preset("rtfq48"));
  CHECK(config.train.passes == 4);
  CHECK(config.precision == "f32");
}

TEST_CASE("config: unknown keys name the nearest one") {
  CHECK_THAT(refusal(R"({"train": {"step": 5}})"),
             Contains("test.jsonc") && Contains("'train.step'") && Contains("'train.steps'"));
  CHECK_THAT(refusal(R"({"trian": {"steps": 5}})"), Contains("'train'?"));
  CHECK_THAT(refusal(R"({"learning_rate": 1})"), Contains("'optimizer.learning_rate'"));
  CHECK_THAT(refusal(R"({"model": {"learning_rat": 1}})"), Contains("'optimizer.learning_rate'"));
  CHECK_THAT(refusal(R"({"data": {"augmentation": {"rotate": 1}}})"),
             Contains("'data.augmentation.rotation'"));
  CHECK_THAT(refusal(R"({"bank": {"bit": [4]}})"), Contains("'bank.bits'"));
  CHECK_THAT(refusal("{}", {"data.sorce=x"}), Contains("--set") && Contains("'data.source'"));
}

TEST_CASE("config: ill-typed values say what was expected") {
  CHECK_THAT(refusal(R"({"train": {"steps": "many"}})"),
             Contains("train.steps expects an integer of at least 1") && Contains("\"many\" (text)"));
  CHECK_THAT(refusal(R"({"train": {"steps": 1.5}})"), Contains("an integer") && Contains("1.5"));
  CHECK_THAT(refusal(R"({"train": {"steps": true}})"), Contains("an integer") && Contains("true"));
  CHECK_THAT(refusal(R"({"train": {"steps": null}})"), Contains("null"));
  CHECK_THAT(refusal(R"({"train": {"steps": {"a": 1}}})"), Contains("train.steps expects"));
  CHECK_THAT(refusal(R"({"train": 5})"), Contains("train expects an object"));
  CHECK_THAT(refusal(R"({"train": {"batch": 4294967297}})"), Contains("train.batch expects"));
  CHECK_THAT(refusal(R"({"train": {"seed": -1}})"), Contains("train.seed expects"));
  CHECK_THAT(refusal(R"({"data": {"source": 5}})"), Contains("data.source expects text"));
  CHECK_THAT(refusal(R"({"data": {"mean": 0.5}})"), Contains("data.mean expects a list of numbers"));
  CHECK_THAT(refusal(R"({"optimizer": {"nesterov": 1}})"), Contains("true or false"));
  CHECK_THAT(refusal(R"({"optimizer": {"schedule": "cosin"}})"),
             Contains("\"cosine\", \"one_cycle\" or \"constant\""));
  CHECK_THAT(refusal(R"([1])"), Contains("expected an object"));
  CHECK_THAT(refusal(R"({"bank": "rtfq49"})"), Contains("\"rtfq48\""));
  CHECK_THAT(refusal(R"({"bank": [1]})"), Contains("bank expects"));
}

TEST_CASE("config: ranges") {
  CHECK_THAT(refusal(R"({"train": {"steps": 0}})"), Contains("train.steps"));
  CHECK_THAT(refusal(R"({"loss": {"pseudo_threshold": 1.5}})"), Contains("from 0 to 1"));
  CHECK_THAT(refusal(R"({"loss": {"student_temperature": 0}})"), Contains("above 0"));
  CHECK_THAT(refusal(R"({"data": {"deviation": [1, 0, 1]}})"), Contains("data.deviation"));
  CHECK_THAT(refusal(R"({"model": {"first_last_bits": 1}})"), Contains("first_last_bits"));
  CHECK_THAT(refusal(R"({"bank": {"widths": [1, 1.5]}})"), Contains("bank.widths"));
  CHECK(parse(R"({"train": {"steps": 2e3}})").train.steps == 2000);
  CHECK(parse(R"({"model": {"first_last_bits": 0}})").model.first_last_bits == 0);
}

TEST_CASE("config: a key twice") {
  CHECK_THAT(refusal(R"({"train": {"steps": 5, "seed": 1, "steps": 6}})"), Contains("'steps' appears twice"));
  CHECK(parse(R"({"train": {"seed": 1}, "data": {"threads": 1}, "threads": 1})").threads == 1);
}

TEST_CASE("config: keys that depend on each other") {
  CHECK_THAT(refusal(R"({"train": {"steps": 10, "float_steps": 6, "source_steps": 5}})"),
             Contains("sum to more"));
  CHECK(parse(R"({"train": {"steps": 11, "float_steps": 6, "source_steps": 5}})").train.steps == 11);
  CHECK_THAT(refusal(R"({"data": {"channels": 1}})"), Contains("data.mean expects 1"));
  CHECK_THAT(refusal(R"({"data": {"deviation": [1]}})"), Contains("data.deviation expects 3"));
  CHECK_THAT(refusal(R"({"data": {"channels": 2}})"), Contains("1 (grey) or 3 (RGB)"));
  CHECK_THAT(refusal(R"({"precision": "f33"})"), Contains("\"f32\", \"tf32\", \"bf16\" or \"int8\""));
  CHECK(parse(R"({"device": "cuda"})").device == "cuda");  // whether it is there is asked when it is used
  CHECK_THAT(refusal(R"({"device": "gpu"})"), Contains("\"cpu\", \"cuda\" or \"simt\""));
  CHECK_THAT(refusal(R"({"bank": {"widths": [0.5]}})"), Contains("must contain 1"));
  CHECK_THAT(refusal(R"({"bank": {"bits": [9]}})"), Contains("2 to 8"));
  CHECK(parse(R"({"data": {"resize": 256}})").data.augmentation.resize == 256);
}

TEST_CASE("config: banks") {
  CHECK(parse(R"({"bank": "small48"})").model.bank == bank_preset("small48"));
  const Bank own = parse(R"({"bank": {"widths": [0.5, 1], "bits": [4, 8]}})").model.bank;
  CHECK(own.widths == std::vector<double>{1, 0.5});
  CHECK(own.bits == std::vector<int>{8, 4});
  CHECK(own.resolutions == Bank{}.resolutions);
  const Bank changed = parse(R"({"bank": "small48"})", {"bank.bits=[8,2]"}).model.bank;
  CHECK(changed.bits == std::vector<int>{8, 2});
  CHECK(changed.widths == bank_preset("small48").widths);
}

TEST_CASE("config: --set") {
  const Config config =
      parse(R"({"train": {"steps": 5}})",
            {"train.steps=7", "data.source=my images/a=b", "data.target=123", "optimizer.nesterov=false",
             "data.mean=[0.1,0.2,0.3]", "bank=anyda48", "train={\"seed\": 3}", "train.steps=8"});
  CHECK(config.train.steps == 8);
  CHECK(config.train.seed == 3);
  CHECK(config.data.source == "my images/a=b");
  CHECK(config.data.target == "123");
  CHECK_FALSE(config.optimizer.nesterov);
  CHECK(config.data.mean[2] == 0.3f);
  CHECK(config.model.bank == bank_preset("anyda48"));
  CHECK_THAT(refusal("{}", {"train.steps"}), Contains("expected key=value"));
  CHECK_THAT(refusal("{}", {"=5"}), Contains("expected key=value"));
  CHECK_THAT(refusal("{}", {"train.steps=ten"}), Contains("--set train.steps=ten") && Contains("\"ten\""));
  CHECK(parse("{}", {"data.source="}).data.source.empty());
}

TEST_CASE("config: every key survives printing and reading") {
  Config config = parse("{}");
  std::size_t changed = 0;
  for (const schema::Field& field : schema::fields()) {
    if (field.is_part) continue;
    const Json value = other_value(field, config);
    INFO(field.key << " = " << value.dump());
    REQUIRE(field.read(config, value));
    CHECK(field.write(config) == value);
    ++changed;
  }
  CHECK(changed > 50);
  config.data.augmentation.resize = config.data.resize;
  config.data.augmentation.squash = config.data.augmentation.bicubic = true;
  const auto differing = schema::differing_keys(config, parse("{}"));
  for (const schema::Field& field : schema::fields()) {
    const bool one_value = field.key == "data.channels";
    INFO(field.key);
    if (!field.is_part)
      CHECK(one_value == (std::find(differing.begin(), differing.end(), field.key) == differing.end()));
  }
  CHECK(same(parse(to_json(config)), config));
  CHECK(same(parse(commented(config)), config));
  CHECK(to_json(parse(commented(config))) == to_json(config));

  Config own = parse(
      R"({"bank": {"widths": [1, 0.3], "depths": [1, 0.5], "resolutions": [33], "bits": [32, 3], "multiple": 4}})");
  CHECK(same(parse(to_json(own)), own));
  CHECK(parse(commented(own)).model.bank == own.model.bank);
}

TEST_CASE("config: a printed configuration explains every key and is plain JSON with comments") {
  const std::string text = commented(parse("{}"));
  for (const schema::Field& field : schema::fields()) {
    if (field.is_part) continue;
    INFO(field.key);
    CHECK(field.doc.size() > 1);
    CHECK(text.find("\"" + field.key.substr(field.key.rfind('.') + 1) + "\": ") != text.npos);
  }
  CHECK_NOTHROW(nlohmann::json::parse(text, nullptr, true, true));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 130);
}

TEST_CASE("config: files") {
  const std::string path = "config-test.jsonc";
  std::ofstream(path) << "{\"train\": {\"stepz\": 1}}";
  CHECK_THROWS_WITH(read_config(path), Contains(path) && Contains("'train.steps'"));
  std::ofstream(path) << "{\"train\": {\"steps\": 11}}";
  CHECK(read_config(path, {"train.seed=5"}).train.steps == 11);
  std::remove(path.c_str());
  CHECK_THROWS_WITH(read_config(path), Contains("cannot read " + path));
  CHECK_THROWS_AS(read_config("."), std::invalid_argument);
}

TEST_CASE("config: presets that ship are valid") {
  const auto names = preset_names();
  for (const char* name : {"glyphs", "mnist-usps", "office31", "pacs", "usps-mnist"})
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  for (const std::string& name : names) {
    INFO(name);
    const Config config = parse_config(preset_text(name), name);
    CHECK(config.model.bank.subnets().size() == 48);
    CHECK(same(parse(commented(config)), config));
    CHECK_THAT(preset_text(name), Contains("epoch"));
  }
  CHECK_THROWS_WITH(preset_text("mnist"), Contains("'mnist'") && Contains("glyphs, mnist-usps"));
}

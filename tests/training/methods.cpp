// Rivals and variants of the method, each on two small sets of stripes: what it trains, what it never
// touches, and that what it adds to the state survives a resume.
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/training/small_run.h"
#include "training/quantize.h"

using namespace rtfq;
using test::bits_of;
using test::small_config;
using test::Stripes;

namespace {

std::vector<std::string> terms_of(const StepReport& report) {
  std::vector<std::string> names;
  for (const auto& [name, value] : report.terms) names.push_back(name);
  return names;
}

StepReport run(Trainer& trainer) {
  StepReport report;
  while (!trainer.finished()) report = trainer.train_step();
  return report;
}

/// Values of a parameter.
std::vector<float> values(Trainer& trainer, const std::string& name) {
  for (const Parameter* p : trainer.student().parameters())
    if (p->name == name) return p->value.to_vector();
  FAIL("no parameter " << name);
  return {};
}

}  // namespace

TEST_CASE("methods: minimum class confusion trains one network at full precision") {
  const Stripes stripes;
  Config config = small_config(stripes);
  config.train.method = "mcc";
  Trainer trainer(config);
  std::vector<std::string> phases;
  while (!trainer.finished()) {
    const StepReport report = trainer.train_step();
    phases.push_back(report.phase);
    if (report.phase == "adapt") CHECK(terms_of(report) == std::vector<std::string>{"confusion", "source"});
  }
  // The quantized steps on the source are not its: 3 of full precision, then 9 with the target.
  CHECK(std::count(phases.begin(), phases.end(), "adapt") == 9);
  for (const Quantizer* q : trainer.student().quantizers())
    for (const auto& [bits, step] : q->steps())
      if (q->options().bound == 0) CHECK(step->value.as<float>()[0] == 0);  // never used
  trainer.calibrate();
  const auto target = data::open_dataset(config.data.target);
  const auto subnets = trained_subnets(config);
  REQUIRE(subnets.size() == 1);
  CHECK(subnets.front().bits == float_bits);
  CHECK(evaluate(trainer.student(), config, subnets, &target, nullptr).front().accuracy.has_value());
}

TEST_CASE("methods: a network trained alone uses its own slice and bit-width, and nothing else") {
  const Stripes stripes;
  Config config = small_config(stripes);
  config.train.sampler = "fixed";
  config.train.subnet = "width=0.5,resolution=8,bits=4";
  config.optimizer.weight_decay = 0;  // it reaches all of a weight that was used
  Trainer trainer(config);
  const auto before = values(trainer, "stage1.block0.conv1.weight");
  const StepReport last = run(trainer);
  CHECK(terms_of(last) == std::vector<std::string>{"information", "pseudo_label", "source"});
  const auto after = values(trainer, "stage1.block0.conv1.weight");
  int inside = 0, outside = 0;  // 32x3x3x32, of which 16x3x3x16 are used
  for (std::size_t i = 0; i < after.size(); ++i) {
    const bool used = i / (9 * 32) < 16 && i % 32 < 16;
    (used ? inside : outside) += after[i] != before[i];
  }
  CHECK(inside > 1000);
  CHECK(outside == 0);
  for (const Quantizer* q : trainer.student().quantizers())
    for (const auto& [bits, step] : q->steps())
      if (bits == 8 && q->options().weight && q->steps().size() > 1) CHECK(step->value.as<float>()[0] == 0);
  trainer.calibrate();
  REQUIRE(trained_subnets(config) == std::vector<Subnet>{{0.5, 1.0, 8, 4}});
  const auto target = data::open_dataset(config.data.target);
  CHECK_NOTHROW(evaluate(trainer.student(), config, trained_subnets(config), &target, nullptr));
}

TEST_CASE("methods: RTF-F is the same bank in full precision, and quantizes without training") {
  const Stripes stripes;
  Config config = small_config(stripes);
  config.train.steps = 30;
  config.train.float_steps = 12;
  config.train.source_steps = 6;
  config.model.bank.bits = {float_bits};
  Trainer trainer(config);
  run(trainer);
  trainer.calibrate();
  const std::string path = stripes.at("rtff.safetensors");
  trainer.save(path);
  const TrainedBank trained = load_bank(path);
  const auto target = data::open_dataset(config.data.target), source = data::open_dataset(config.data.source);
  const double full = accuracy(*trained.network, config.model.bank.largest(), Domain::source, config, source);

  const Config quantized = quantized_config(trained.config, {"bank.bits=[8,4]"});
  CHECK(quantized.model.step_init == "mse");
  const TrainedBank bank = quantize(trained, quantized);
  for (const Parameter* p : bank.network->parameters()) {
    if (p->kind != ParameterKind::weight) continue;
    for (const Parameter* other : trained.network->parameters())
      if (other->name == p->name) CHECK(other->value.to_vector() == p->value.to_vector());
  }
  const auto scores = evaluate(*bank.network, quantized, quantized.model.bank.subnets(), &target, &source);
  REQUIRE(scores.size() == 8);
  for (const SubnetScore& score : scores) CHECK(score.source_accuracy.has_value());
  CHECK(scores.front().subnet == quantized.model.bank.largest());
  CHECK(scores.front().source_accuracy.value() == Approx(full).margin(3));  // 8 bits lose next to nothing

  const std::string saved = stripes.at("ptq.safetensors");
  save_network(saved, bank);
  CHECK(load_bank(saved).config.model.bank.bits == std::vector<int>{8, 4});
  CHECK_THROWS_WITH(Trainer::resume(saved), Catch::Contains("nothing to resume"));
  CHECK_THROWS_WITH(quantized_config(quantized, {}), Catch::Contains("quantized already"));
  CHECK_THROWS_WITH(quantized_config(trained.config, {"train.steps=50"}),
                    Catch::Contains("train.steps cannot be set"));
  CHECK_THROWS_WITH(quantized_config(trained.config, {"bank.widths=[1]"}),
                    Catch::Contains("only bits can be set"));
  CHECK_THROWS_WITH(quantized_config(trained.config, {"bank.bits=[32]"}),
                    Catch::Contains("only bits can be set"));
}

TEST_CASE("methods: what the variants keep between steps survives a resume") {
  const Stripes stripes;
  Config config = small_config(stripes);
  config.train.teacher_view = "plain";
  config.train.teacher_update = "before";
  config.loss.pseudo_source = "teacher";
  config.loss.information_prior = "teacher";
  config.loss.information_average = 0.9;
  config.loss.confusion = 0.5;
  config.model.norm_affine = "subnet";
  config.model.step_init = "mse";
  config.model.bits_exceptions = {"stage1.*=8"};
  Trainer whole(config);
  CHECK(terms_of(run(whole)) == std::vector<std::string>{"confusion", "distillation", "information", "joint",
                                                         "pseudo_label", "source"});
  const std::string path = stripes.at("run.safetensors");
  for (const int64_t stop : {5, 8}) {
    Trainer first(config);
    while (first.step() < stop) first.train_step();
    first.save(path);
    const auto second = Trainer::resume(path);
    run(*second);
    CHECK(bits_of(*second, stripes) == bits_of(whole, stripes));
  }
}

TEST_CASE("methods: every variant changes what is trained") {
  const Stripes stripes;
  const auto trained = [&](const std::vector<std::string>& settings) {
    Config config = parse_config(to_json(small_config(stripes)), "test", settings);
    config.train.steps = 6;
    config.train.float_steps = 1;
    config.train.source_steps = 2;
    Trainer trainer(config);
    run(trainer);
    return values(trainer, "classifier.weight");
  };
  const auto plain = trained({});
  for (const char* setting :
       {"train.teacher_view=plain", "train.teacher_update=before", "loss.pseudo_source=teacher",
        "loss.information_prior=teacher", "loss.information_average=0.9", "loss.confusion=1",
        "model.norm_affine=subnet", "model.step_init=max", "model.step_gradient=none",
        "model.bits_exceptions=[\"stage2.*=2\"]", "model.residual=codes", "loss.joint=0",
        "train.teacher_decay=0.5", "model.per_channel_weights=true", "model.symmetric_weights=true",
        "model.domain_norms=false"}) {
    INFO(setting);
    // A threshold that a dozen steps reach, so that there are pseudo-labels.
    const bool labels = std::string(setting).starts_with("loss.pseudo");
    const auto base = labels ? trained({"loss.pseudo_threshold=0.4"}) : plain;
    auto settings = std::vector<std::string>{setting};
    if (labels) settings.push_back("loss.pseudo_threshold=0.4");
    CHECK(trained(settings) != base);
  }
}

TEST_CASE("methods: without calibration the running averages stay, and undrawn subnets get statistics") {
  const Stripes stripes;
  Config config = small_config(stripes);
  config.train.calibration_images = 0;
  Trainer trainer(config);
  run(trainer);
  const auto mean = [&] {
    std::vector<float> all;
    for (auto& [name, tensor] : trainer.student().buffers())
      if (name == "stem.norm.target.w1.d1.mean") all = tensor.to_vector();
    return all;
  };
  const auto before = mean();
  SwitchableNorm& first = *trainer.student().norms().front();
  const auto seen = [&] {
    int count = 0;
    for (const Subnet& subnet : config.model.bank.subnets())
      count += first.seen(place(config.model.bank, subnet), Domain::target);
    return count;
  };
  const int drawn = seen();
  CHECK(drawn >= 2);
  trainer.calibrate();
  CHECK(seen() == 8);
  // The largest at its highest precision was drawn in every step: its averages are as training left them.
  const std::size_t channels = before.size() / static_cast<std::size_t>(slot_count(config.model.bank));
  const auto slot = static_cast<std::size_t>(place(config.model.bank, config.model.bank.largest()).slot);
  const auto after = mean();
  CHECK(std::equal(before.begin() + static_cast<std::ptrdiff_t>(slot * channels),
                   before.begin() + static_cast<std::ptrdiff_t>((slot + 1) * channels),
                   after.begin() + static_cast<std::ptrdiff_t>(slot * channels)));
}

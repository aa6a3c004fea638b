#include "training/sampler.h"

#include <algorithm>
#include <stdexcept>

#include "engine/random.h"

namespace rtfq {
namespace {

template <class T>
T pick(Random& random, const std::vector<T>& values) {
  return values[random.below(static_cast<uint32_t>(values.size()))];
}

Subnet random_architecture(Random& random, const Bank& bank) {
  Subnet subnet;
  subnet.width = pick(random, bank.widths);
  subnet.depth = pick(random, bank.depths);
  subnet.resolution = pick(random, bank.resolutions);
  return subnet;
}

Subnet at_bits(Subnet subnet, int bits) {
  subnet.bits = bits;
  return subnet;
}

}  // namespace

const char* to_string(Role role) {
  return role == Role::largest ? "largest" : role == Role::smallest ? "smallest" : "random";
}

std::vector<PassPlan> sample_passes(const Bank& bank, const std::string& sampler, int passes, uint64_t seed,
                                    uint64_t step) {
  const bool uniform = sampler == "uniform", sandwich = sampler == "sandwich",
             sandwichq = sampler == "sandwichq";
  if (!uniform && !sandwich && !sandwichq)
    throw std::invalid_argument("[sampler] expected sandwichq, sandwich or uniform, got '" + sampler + "'");
  if (passes < (uniform ? 1 : 2))
    throw std::invalid_argument("[sampler] " + sampler + " needs at least " +
                                (uniform ? "1 pass" : "2 passes") + ", got " + std::to_string(passes));
  Random random(seed, Purpose::sampler, step);
  std::vector<PassPlan> plan;
  const auto& bits = bank.bits;
  if (uniform) {
    for (int i = 0; i < passes; ++i) {
      const Subnet subnet = at_bits(random_architecture(random, bank), pick(random, bits));
      plan.push_back({subnet, subnet == bank.largest() ? Role::largest : Role::random, -1});
    }
    return plan;
  }
  const int shared = sandwich ? pick(random, bits) : 0;
  plan.push_back({sandwich ? at_bits(bank.largest(), shared) : bank.largest(), Role::largest, -1});
  int left = passes - 2;
  while (left > 0) {
    const Subnet architecture = random_architecture(random, bank);
    if (sandwichq && left >= 2 && bits.size() >= 2) {
      const auto higher = random.below(static_cast<uint32_t>(bits.size() - 1));
      plan.push_back({at_bits(architecture, bits[higher]), Role::random, -1});
      plan.push_back(
          {at_bits(architecture, bits[higher + 1]), Role::random, static_cast<int>(plan.size()) - 1});
      left -= 2;
    } else {
      plan.push_back({at_bits(architecture, sandwich ? shared : pick(random, bits)), Role::random, -1});
      --left;
    }
  }
  plan.push_back({sandwich ? at_bits(bank.smallest(), shared) : bank.smallest(), Role::smallest, -1});
  return plan;
}

std::vector<PassPlan> single_pass(const Subnet& subnet) {
  return {{subnet, Role::largest, -1}};
}

std::vector<Subnet> intermediate_teachers(const Bank& bank, const std::vector<PassPlan>& passes) {
  std::vector<Subnet> teachers;
  for (const PassPlan& pass : passes) {
    if (pass.role != Role::random) continue;
    const Subnet teacher = at_bits(pass.subnet, bank.bits.front());
    if (std::find(teachers.begin(), teachers.end(), teacher) == teachers.end()) teachers.push_back(teacher);
  }
  return teachers;
}

std::vector<Subnet> intermediate_teachers(const Bank& bank) {
  std::vector<Subnet> teachers;
  const int highest = bank.bits.front();
  for (const Subnet& subnet : bank.subnets())
    if (subnet.bits == highest && subnet != at_bits(bank.largest(), highest) &&
        subnet != at_bits(bank.smallest(), highest))
      teachers.push_back(subnet);
  return teachers;
}

}  // namespace rtfq

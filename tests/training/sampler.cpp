#include "training/sampler.h"

#include <catch2/catch.hpp>
#include <set>

#include "training/schedule.h"

using namespace rtfq;

TEST_CASE(
    "sampler: SandwichQ trains the extremes and a pair of adjacent bit-widths, every bit-width each step") {
  const Bank bank = bank_preset("small48");
  std::set<std::string> architectures;
  std::set<int> higher;
  for (uint64_t step = 0; step < 400; ++step) {
    const auto passes = sample_passes(bank, "sandwichq", 4, 5, step);
    REQUIRE(passes.size() == 4);
    CHECK(passes[0].subnet == bank.largest());
    CHECK(passes[0].role == Role::largest);
    CHECK(passes[3].subnet == bank.smallest());
    CHECK(passes[3].role == Role::smallest);
    CHECK(passes[2].learns_from == 1);
    Subnet same = passes[1].subnet;
    same.bits = passes[2].subnet.bits;
    CHECK(same == passes[2].subnet);
    CHECK(std::pair(passes[1].subnet.bits, passes[2].subnet.bits) ==
          std::pair(passes[1].subnet.bits, passes[1].subnet.bits - 2));
    std::set<int> bits;
    for (const auto& pass : passes) bits.insert(pass.subnet.bits);
    CHECK(bits == std::set<int>{4, 6, 8});
    same.bits = 0;
    architectures.insert(id(same));
    higher.insert(passes[1].subnet.bits);
  }
  CHECK(architectures.size() == 16);
  CHECK(higher == std::set<int>{8, 6});
  CHECK(sample_passes(bank, "sandwichq", 6, 5, 0).size() == 6);
  CHECK(sample_passes(bank, "sandwichq", 6, 5, 0)[4].learns_from == 3);
  CHECK(sample_passes(bank, "sandwichq", 3, 5, 0)[1].learns_from == -1);
}

TEST_CASE("sampler: a step's passes depend on seed and step alone") {
  const Bank bank = bank_preset("rtfq48");
  const auto ids = [&](uint64_t seed, uint64_t step) {
    std::string all;
    for (const auto& pass : sample_passes(bank, "sandwichq", 6, seed, step)) all += id(pass.subnet) + " ";
    return all;
  };
  CHECK(ids(1, 7) == ids(1, 7));
  CHECK(ids(1, 7) != ids(1, 8));
  CHECK(ids(1, 7) != ids(2, 7));
}

TEST_CASE("sampler: the plain sandwich rule has one bit-width a step, uniform sampling reaches everything") {
  const Bank bank = bank_preset("small48");
  std::set<int> shared;
  std::set<std::string> all;
  for (uint64_t step = 0; step < 500; ++step) {
    std::set<int> bits;
    for (const auto& pass : sample_passes(bank, "sandwich", 4, 1, step)) bits.insert(pass.subnet.bits);
    CHECK(bits.size() == 1);
    shared.insert(*bits.begin());
    for (const auto& pass : sample_passes(bank, "uniform", 4, 1, step)) {
      CHECK(pass.learns_from == -1);
      all.insert(id(pass.subnet));
    }
  }
  CHECK(shared.size() == 3);
  CHECK(all.size() == 48);
  CHECK_THROWS_WITH(sample_passes(bank, "sandwichQ", 4, 1, 0),
                    Catch::Contains("expected sandwichq, sandwich or uniform"));
  CHECK_THROWS_WITH(sample_passes(bank, "sandwichq", 1, 1, 0), Catch::Contains("at least 2 passes"));
}

TEST_CASE("sampler: teachers of the smallest lie between the extremes") {
  const Bank bank = bank_preset("anyda48");
  CHECK(intermediate_teachers(bank).size() == 14);  // as AnyDA's
  const auto passes = sample_passes(bank, "sandwichq", 6, 3, 11);
  const auto teachers = intermediate_teachers(bank, passes);
  CHECK(teachers.size() >= 1);
  for (const Subnet& teacher : teachers) CHECK(teacher.bits == 8);
}

TEST_CASE("schedule: cosine ends near zero, one cycle rises and falls") {
  OptimizerConfig config;
  config.learning_rate = 0.1;
  CHECK(learning_rate(config, 0, 100) == Approx(0.1));
  CHECK(learning_rate(config, 50, 100) == Approx(0.05));
  CHECK(learning_rate(config, 99, 100) < 1e-4);
  config.schedule = "one_cycle";
  CHECK(learning_rate(config, 0, 100) == Approx(0.004));
  CHECK(learning_rate(config, 25, 100) == Approx(0.1));
  CHECK(learning_rate(config, 99, 100) < 1e-4);
  config.schedule = "constant";
  CHECK(learning_rate(config, 99, 100) == 0.1);
  config.schedule = "linear";
  CHECK_THROWS_AS(learning_rate(config, 0, 1), std::invalid_argument);
}

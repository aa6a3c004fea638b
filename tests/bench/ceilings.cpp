// What memory can give to who reads such a share of what it moves, and which share that is.
#include <catch2/catch.hpp>
#include <map>
#include <utility>
#include <vector>

#include "kernels/catalog/custom.h"
#include "tools/bench/item.h"
#include "tools/bench/machine.h"

namespace lab = rtfq::lab;
using nlohmann::json;
using rtfq::kernels::cpu::MemoryMix;

TEST_CASE("ceilings: memory's rate lies between those of the loops that read less and more") {
  const rtfq::kernels::cpu::MemoryRates rates{{40e9, 36e9, 34e9, 30e9}};
  for (const auto& [share, rate] :
       {std::pair{0.0, 40e9}, {0.5, 40e9}, {2.0 / 3, 36e9}, {0.75, 34e9}, {1.0, 30e9}})
    CHECK(rates.of_share(share) == Approx(rate));
  // Halfway in seconds a byte.
  CHECK(rates.of_share(7.0 / 8) == Approx(2 / (1 / 34e9 + 1 / 30e9)));
  std::vector<MemoryMix> asked;
  rtfq::kernels::cpu::rate_of_share(0.7, [&](MemoryMix mix) {
    asked.push_back(mix);
    return rates[mix];
  });
  CHECK(asked == std::vector{MemoryMix::triad, MemoryMix::schoenauer});
}

TEST_CASE("ceilings: files of before know copying, triads and reading alone") {
  json machine = lab::Machine{"made up", "2026-01-01T00:00:00Z", 2, {{40e9, 36e9, 34e9, 30e9}}, 1e11, 0, 0};
  CHECK(machine.get<lab::Machine>().memory[MemoryMix::schoenauer] == 34e9);
  machine.erase("schoenauer");
  const auto before = machine.get<lab::Machine>();
  CHECK(before.memory[MemoryMix::schoenauer] == 36e9);
  CHECK(before.memory[MemoryMix::read] == 30e9);
  lab::Row row;
  row.read_share = 0.75;
  json stored = row;
  CHECK(stored.get<lab::Row>().read_share == 0.75);
  stored.erase("read_share");
  CHECK(stored.get<lab::Row>().read_share == 0.5);
  stored["only_reads"] = true;
  CHECK(stored.get<lab::Row>().read_share == 1);
}

TEST_CASE("ceilings: what an operator reads is what its outputs leave of the bytes that it declares") {
  const std::map<std::string, int64_t> dims{{"count", 4096}};
  for (const auto& [op, share] : {std::pair{"optimizer.sgd", 0.5},
                                  {"optimizer.moving_average", 2.0 / 3},
                                  {"optimizer.squared_norm", 1.0},
                                  {"fakequant.forward", 0.5},
                                  {"fakequant.abs_sum", 1.0},
                                  {"relu.backward", 2.0 / 3}})
    for (const bool reference : {false, true}) {
      INFO(op << (reference ? ", verified" : ", timed"));
      rtfq::kernels::catalog::CustomRequest request{op, dims};
      request.reference = reference;
      CHECK(rtfq::kernels::catalog::custom(request)->read_share() == Approx(share).margin(0.002));
    }
}

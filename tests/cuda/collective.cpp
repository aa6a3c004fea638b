// NCCL, as far as one machine goes: it is opened, makes an id without a driver, and where there is a GPU one
// rank's sums are what they were. Sums of several ranks take several GPUs.
#include "kernels/runtime/collective.h"

#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "kernels/runtime/stream.h"
#include "tests/support/skip.h"

using namespace rtfq;
using namespace rtfq::kernels;
using namespace rtfq::kernels::runtime;

TEST_CASE("nccl: a build without it says so") {
  if (nccl_missing().empty()) return test::skip("NCCL is here");
  CHECK_THROWS_WITH(make_nccl_id(), Catch::Matchers::Contains(nccl_missing()));
}

TEST_CASE("nccl: ids are made without a GPU, and no two are the same") {
  if (const std::string missing = nccl_missing(); !missing.empty()) return test::skip(missing);
  std::set<std::array<char, 128>> ids;
  for (int i = 0; i < 3; ++i) ids.insert(make_nccl_id().bytes);
  CHECK(ids.size() == 3);
}

TEST_CASE("nccl: one rank's sums are its own") {
  const Device device{Backend::cuda, 0};
  std::string missing = nccl_missing();
  if (!missing.empty() || !available(device, &missing)) return test::skip(missing);
  const std::unique_ptr<Collective> nccl = make_nccl(device, make_nccl_id(), 0, 1);
  CHECK_THAT(nccl->name(), Catch::Matchers::StartsWith("NCCL 2."));
  const Stream stream = create_stream(device);
  constexpr std::size_t count = 300;  // more spans than go into one group
  std::vector<float> values(count * 5);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 8;
  std::vector<double> wide(values.begin(), values.end());
  auto* floats = static_cast<float*>(allocate(device, values.size() * sizeof(float)));
  auto* doubles = static_cast<double*>(allocate(device, wide.size() * sizeof(double)));
  copy(floats, device, values.data(), {}, values.size() * sizeof(float), stream);
  copy(doubles, device, wide.data(), {}, wide.size() * sizeof(double), stream);
  std::vector<Floats> spans;
  for (std::size_t i = 0; i < count; ++i) spans.push_back({floats + 5 * i, i % 7 ? std::size_t{5} : 0});
  nccl->sum(spans, stream);
  nccl->sum(doubles, wide.size(), stream);
  std::vector<float> found(values.size());
  std::vector<double> found_wide(wide.size());
  copy(found.data(), {}, floats, device, found.size() * sizeof(float), stream);
  copy(found_wide.data(), {}, doubles, device, found_wide.size() * sizeof(double), stream);
  CHECK(found == values);
  CHECK(found_wide == wide);
  release(device, floats);
  release(device, doubles);
  destroy_stream(stream);
}

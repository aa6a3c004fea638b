// The packed format: codes at their true width, what a file says of itself, its size, and bad files.
#include <catch2/catch.hpp>

#include "engine/crc32.h"
#include "kernels/int4.h"
#include "models/packed/codes.h"
#include "tests/deploy/banks.h"

using namespace rtfq;
using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

using File = std::vector<unsigned char>;

const File& small_file() {
  static const File file = [] {
    const auto net = seen_bank({.bits = {4}});
    return packed::pack(*net, Domain::target, entries_of(*net, {{0.5, 0.5, 24, 4}}), pack_info());
  }();
  return file;
}

template <class T>
T number_at(const File& file, std::size_t at) {
  T value;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}
template <class T>
void set(File& file, std::size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}

/// Header and checksums made to fit after a change.
void reseal(File& file) {
  const auto offset = number_at<uint64_t>(file, 24), bytes = number_at<uint64_t>(file, 32);
  if (offset + bytes <= file.size()) set(file, 48, crc32(file.data() + offset, bytes));
  set(file, 60, crc32(file.data(), 60));
}

std::string refusal(const File& file) {
  try {
    const packed::Model model(file);
  } catch (const packed::FormatError& error) {
    return error.what();
  }
  return "";
}

std::string metadata_of(const File& file) {
  return {reinterpret_cast<const char*>(file.data()) + 64, number_at<uint64_t>(file, 32)};
}

/// The small file with one piece of its metadata replaced by another, all checksums right.
File edited(const std::string& from, const std::string& to) {
  const File& file = small_file();
  std::string text = metadata_of(file);
  const std::size_t at = text.find(from);
  REQUIRE(at != text.npos);
  text.replace(at, from.size(), to);
  const std::size_t data = (64 + text.size() + 63) / 64 * 64, old_data = number_at<uint64_t>(file, 40);
  File out(data + file.size() - old_data);
  std::copy_n(file.begin(), 64, out.begin());
  std::copy(text.begin(), text.end(), out.begin() + 64);
  std::copy(file.begin() + static_cast<std::ptrdiff_t>(old_data), file.end(),
            out.begin() + static_cast<std::ptrdiff_t>(data));
  set<uint64_t>(out, 16, out.size());
  set<uint64_t>(out, 32, text.size());
  set<uint64_t>(out, 40, data);
  reseal(out);
  return out;
}

}  // namespace

TEST_CASE("packed: codes lie as the format says") {
  const std::vector<int8_t> four{1, -2, 7, -8, 3};
  CHECK(packed::pack_codes(four, 4) == File{0xe1, 0x87, 0x03});  // low nibble first, two's complement
  const std::vector<int8_t> six{1, -1, 31, -32};
  // 000001, 111111, 011111, 100000 from the lowest bit on
  CHECK(packed::pack_codes(six, 6) == File{0xc1, 0xff, 0x81});
  const std::vector<int8_t> three{1, -1, 3};
  CHECK(packed::pack_codes(three, 3) == File{0xf9, 0x00});
  CHECK_THROWS_WITH(packed::pack_codes(four, 3), Contains("does not fit in 3 bits"));
}

TEST_CASE("packed: 4-bit codes lie as the kernels of 4-bit storage write them") {
  const auto shape = kernels::make_fakequant_shape(5, kernels::quant_bounds(4, true));
  const auto& quantizer = kernels::choose<kernels::Int4Quantize>(kernels::Backend::cpu, shape);
  const std::vector<float> x{1, -2, 7, -8, 3};
  const float step = 1;
  File line(static_cast<std::size_t>(kernels::int4_bytes(5)));
  std::vector<std::byte> scratch(quantizer.workspace(shape));
  quantizer.launch(shape, {x.data(), &step, line.data(), scratch.data()}, {});
  CHECK(line == packed::pack_codes(std::vector<int8_t>{1, -2, 7, -8, 3}, 4));
}

TEST_CASE("packed: codes of every width come back") {
  Random random(3, Purpose::test);
  for (int bits = 2; bits <= 8; ++bits)
    for (const std::size_t count : {0u, 1u, 2u, 3u, 5u, 8u, 63u, 1000u}) {
      INFO(bits << " bits, " << count << " codes");
      std::vector<int8_t> codes(count), back(count, 99);
      for (int8_t& code : codes)
        code = static_cast<int8_t>(static_cast<int>(random.below(1u << bits)) - (1 << (bits - 1)));
      const File bytes = packed::pack_codes(codes, bits);
      REQUIRE(bytes.size() == packed::code_bytes(count, bits));
      packed::unpack_codes(bytes, bits, back);
      CHECK(back == codes);
    }
}

TEST_CASE("packed: a file says what it holds") {
  const packed::Model model(small_file());
  CHECK(model.version() == 1);
  CHECK(model.made_by() == "rtfq test");
  CHECK(model.spec().name == "resnet14_small");
  CHECK(model.classes() == pack_info().classes);
  CHECK(model.preprocessing() == pack_info().preprocessing);
  CHECK(model.criteria() == pack_info().criteria);
  REQUIRE(model.subnets().size() == 1);
  CHECK(model.subnets()[0].subnet == Subnet{0.5, 0.5, 24, 4});
  CHECK(model.subnets()[0].scores.at("target-labels") == 50.0);
  CHECK(model.subnets()[0].cost.macs > 0);
  CHECK_THROWS_WITH(model.index({1, 1, 24, 4}), Contains("w0.5-d0.5-r24-b4"));
}

TEST_CASE("packed: what has not been trained is not packed") {
  Supernet fresh(packed_options({}), 1);
  CHECK_THROWS_WITH(packed_bank(fresh), Contains("has no") && Contains("step size yet"));
  const auto net = seen_bank({});
  for (SwitchableNorm* norm : net->norms())
    norm->reset(place(net->options().bank, {0.5, 1, 24, 6}), Domain::target);
  CHECK_THROWS_WITH(packed_bank(*net), Contains("w0.5-d1-r24-b6 has no norm statistics yet"));
  Subnet full = net->options().bank.largest();
  full.bits = float_bits;
  CHECK_THROWS_WITH(packed::pack(*net, Domain::target, entries_of(*net, {full}), pack_info()),
                    Contains("not quantized"));
}

TEST_CASE("packed: size of a 4-bit subnet and of a bank beside a float32 checkpoint") {
  // The digits' bank: 48 subnets.
  SupernetOptions options;
  options.arch = "resnet14_small";
  options.classes = 10;
  options.image_channels = 1;
  options.bank = bank_preset("small48");
  Supernet net(options, 1);
  for (const Quantizer* q : net.quantizers())
    for (const auto& [bits, step] : q->steps())
      for (int64_t i = 0; i < step->value.count(); ++i) step->value.as<float>()[i] = 0.125f;
  // Statistics that differ from subnet to subnet, as trained ones do.
  Random random(5, Purpose::test);
  for (auto& [name, tensor] : net.buffers())
    for (int64_t i = 0; i < tensor.count(); ++i) tensor.as<float>()[i] = random.uniform(0.5f, 2.0f);
  packed::PackInfo info = pack_info();
  info.classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  info.preprocessing.channels = 1;
  info.preprocessing.mean = info.preprocessing.deviation = {0.5f};
  info.preprocessing.crop = info.preprocessing.resize = 32;
  const auto file_of = [&](const std::vector<Subnet>& subnets) {
    return packed::pack(net, Domain::target, entries_of(net, subnets), info).size();
  };
  // Weights, scale and shift, running mean and variance, in f32: what torch.save writes, without its
  // overhead.
  const Subnet largest = options.bank.largest();
  int64_t channels = 0;
  for (const ConvPlan& conv : plan(net.spec(), largest, options.bank.multiple, 1)) channels += conv.k;
  const double checkpoint = 4.0 * static_cast<double>(net.cost(largest).params + 2 * channels);
  Subnet four = largest;
  four.bits = 4;
  const double one = static_cast<double>(file_of({four})),
               bank = static_cast<double>(file_of(options.bank.subnets()));
  INFO("checkpoint " << checkpoint << ", 4-bit subnet " << one << ", bank " << bank);
  CHECK(checkpoint / one >= 7.5);
  CHECK(bank / checkpoint <= 0.7);
}

TEST_CASE("packed: every flipped byte and every cut is noticed") {
  const File& file = small_file();
  REQUIRE(refusal(file).empty());
  Random random(8, Purpose::test);
  const auto flip = [&](std::size_t at) {
    File bad = file;
    bad[at] ^= static_cast<unsigned char>(1u << random.below(8));
    if (refusal(bad).empty()) FAIL_CHECK("byte " << at << " of " << file.size() << " may change unnoticed");
  };
  for (std::size_t at = 0; at < 64; ++at) flip(at);
  const std::size_t step = file.size() / 400;
  for (std::size_t at = 64; at < file.size(); at += 1 + random.below(static_cast<uint32_t>(2 * step)))
    flip(at);
  flip(file.size() - 1);
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{63},
                                 std::size_t{64}, file.size() / 2, file.size() - 1})
    CHECK_THAT(refusal(File(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size))),
               Contains("cut off") || Contains("signature"));
  File longer = file;
  longer.push_back(0);
  CHECK_THAT(refusal(longer), Contains("bytes and has"));
}

TEST_CASE("packed: a later version is refused, by its number") {
  File later = small_file();
  set<uint32_t>(later, 8, 2);
  reseal(later);
  CHECK_THAT(refusal(later), Contains("version 2") && Contains("newer rtfq"));
  CHECK_THAT(refusal(File{'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}), Contains("not an rtfq model"));
}

TEST_CASE("packed: hostile headers and metadata are refused before anything large is allocated") {
  for (const std::size_t at : {16u, 24u, 32u, 40u})
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{63}}) {
      File bad = small_file();
      set<uint64_t>(bad, at, value);
      set(bad, 60, crc32(bad.data(), 60));
      INFO("offset " << at << ", value " << value);
      CHECK_FALSE(refusal(bad).empty());
    }
  const auto refused = [](const std::string& from, const std::string& to, const std::string& why) {
    INFO(from << " -> " << to);
    CHECK_THAT(refusal(edited(from, to)), Contains(why));
  };
  CHECK(refusal(edited("\"made_by\":\"rtfq test\"", "\"made_by\":\"somebody\",\"unknown\":[1,{}]")).empty());
  refused("{\"format\"", "[{\"format\"", "not a JSON object");
  refused("{\"format\"", std::string(100000, '[') + "{\"format\"", "not a JSON object");
  refused("\"rtfq-model\"", "\"other\"", "not an rtfq model's");
  refused("\"resnet14_small\"", "\"vgg\"", "unknown arch");
  refused("\"resnet14_small\"", "\"resnet50_w1024\"", "");
  refused("\"classes\":[\"ant\",", "\"classes\":[\"ant\",\"extra\",", "another type or shape");
  refused("\"classes\":[\"ant\"", "\"classes\":[7", "cannot be read");
  refused("\"width\":0.5", "\"width\":1e300", "width");
  refused("\"width\":0.5", "\"width\":null", "cannot be read");
  refused("\"resolution\":24", "\"resolution\":1000000", "resolution");
  refused("\"bits\":4", "\"bits\":64", "bits outside 2 to 8");
  refused("\"bits\":4", "\"bits\":5", "has no 5-bit");
  refused("\"k\":16", "\"k\":-1", "must be within");
  refused("\"k\":16", "\"k\":16777216", "another type or shape");
  refused("\"filter\":5", "\"filter\":3", "another type or shape");
  refused("\"channel_multiple\":8", "\"channel_multiple\":64", "another type or shape");
  refused("\"deviation\":[0.25", "\"deviation\":[0", "deviation");
  refused("\"crop\":32", "\"crop\":0", "crop");
  refused("\"shape\":[16,5,5,3]", "\"shape\":[9223372036854775807,9223372036854775807,5,3]",
          "does not fit in the file");
  refused("\"offset\":0", "\"offset\":18446744073709551552", "outside the file");
  refused("\"offset\":0", "\"offset\":64", "");
  refused("\"type\":\"s8\"", "\"type\":\"f64\"", "none of f32");
  refused("\"subnets\":[{", "\"subnets\":[],\"more\":[{", "no subnets");
}

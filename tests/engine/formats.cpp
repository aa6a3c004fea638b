// Files of other programs, read as bytes: what is taken, and what is refused before anything is allocated.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <limits>

#include "engine/formats/npy.h"
#include "engine/formats/pickle.h"
#include "engine/formats/tensor_list.h"
#include "engine/formats/zip.h"
#include "engine/random.h"
#include "engine/sha256.h"

using namespace rtfq;
using namespace rtfq::formats;
using Catch::Matchers::Contains;
using namespace std::string_literals;
namespace fs = std::filesystem;

namespace {

const std::string fixtures = std::string(RTFQ_SOURCE_DIR) + "/tests/checkpoints/";

std::vector<unsigned char> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

Pickle pickle(const std::string& text) {
  static constexpr const char* known[] = {"collections.OrderedDict"};
  const auto bytes = bytes_of(text);
  std::size_t position = 0;
  return read_pickle(bytes, position, known);
}

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// A safetensors file of one header and `data` zeros.
std::vector<unsigned char> safetensors(const std::string& header, std::size_t data = 16) {
  return bytes_of(raw(static_cast<uint64_t>(header.size())) + header + std::string(data, '\0'));
}

/// A .npy file of version 1.0.
std::vector<unsigned char> npy(const std::string& header, const std::string& data) {
  return bytes_of("\x93NUMPY\x01" + std::string(1, '\0') + raw(static_cast<uint16_t>(header.size())) +
                  header + data);
}

long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("formats: pickled values of every protocol become data") {
  const Pickle numbers =
      pickle("(I7\nI01\nL12345678901L\nF0.5\nK\x03M\x01\x02J\xff\xff\xff\xff\x8a\x02\x00\xfft."s);
  std::vector<int64_t> integers;
  for (const PickleId id : numbers.top().children) integers.push_back(numbers[id].integer);
  CHECK(integers == std::vector<int64_t>{7, 1, 12345678901, 0, 3, 513, -1, -256});
  CHECK(numbers[numbers.top().children[1]].kind == PickleNode::Kind::boolean);
  CHECK(numbers[numbers.top().children[3]].real == 0.5);
  CHECK(pickle("G\x3f\xf8\0\0\0\0\0\0."s).top().real == 1.5);

  // {"a": [1, 2], "b": "a"}: protocol 4, with a memo.
  const Pickle dictionary =
      pickle("\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94(\x8c\x01"
                         "a\x94]\x94(K\x01K\x02"
                         "e\x8c\x01"
                         "bh\x01u."s);
  REQUIRE(dictionary.top().items.size() == 2);
  CHECK(dictionary[dictionary.top().items[0].first].text == "a");
  CHECK(dictionary[dictionary.top().items[0].second].children.size() == 2);
  CHECK(dictionary[dictionary.top().items[1].second].text == "a");

  const Pickle call = pickle("ccollections\nOrderedDict\n)R(S'k'\nNu.");
  CHECK(call.top().kind == PickleNode::Kind::call);
  CHECK(call.top().text == "collections.OrderedDict");
  CHECK(call.top().items.size() == 1);
  // A list that holds itself.
  CHECK(pickle("]q\x01h\x01"
               "a.")
            .top()
            .children == std::vector<PickleId>{0});
}

TEST_CASE("formats: a pickle that wants to do something is refused by name") {
  const auto refusal = [](const std::string& text) {
    try {
      pickle(text);
    } catch (const FormatError& error) {
      return std::string(error.what());
    }
    return std::string("(accepted)");
  };
  CHECK_THAT(refusal("cposix\nsystem\n(S'ls'\ntR."),
             Contains("posix.system") && Contains("nothing was executed"));
  CHECK_THAT(refusal("(S'ls'\niposix\nsystem\n."), Contains("not an instruction"));  // INST
  CHECK_THAT(refusal("c__builtin__\neval\n."), Contains("builtins.eval"));
  CHECK_THAT(refusal("\x8c\x05posix\x8c\x06system\x93."), Contains("posix.system"));
  CHECK_THAT(refusal("c\x01\n\x02\n."), Contains("?.?"));
  CHECK_THAT(refusal("\x82\x01."), Contains("not an instruction"));  // EXT1
  CHECK_THAT(refusal("\x97."), Contains("not an instruction"));      // NEXT_BUFFER
  CHECK_THAT(refusal("S'x'\n)R."), Contains("not a global"));
  CHECK_THAT(refusal("(K\x01."), Contains("never gave") || Contains("(accepted)"));
  CHECK_THAT(refusal("."), Contains("never gave"));
  CHECK_THAT(refusal("t."), Contains("never opened"));
  CHECK_THAT(refusal("h\x05."), Contains("never kept"));
  CHECK_THAT(refusal("}K\x01s."), Contains("never gave"));
  CHECK_THAT(refusal("I1e5\n."), Contains("malformed number"));
  CHECK_THAT(refusal("S'x\n."), Contains("without quotes"));
  CHECK_THAT(refusal("\x80\x09."), Contains("protocol 9"));
  CHECK_THAT(refusal("I12"), Contains("cut off"));
  CHECK_THAT(refusal("\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"
                     "abc."),
             Contains("cut off"));
  CHECK_THAT(refusal("X\xff\xff\xff\xff"
                     "abc."),
             Contains("cut off"));
  // A hundred thousand marks and nested tuples end without recursion.
  CHECK(pickle(")" + std::string(100000, '\x85') + ".").nodes.size() == 100001);
  CHECK_THAT(refusal(std::string(100000, '(') + "."), Contains("never gave"));
}

TEST_CASE("formats: views stay inside their storage") {
  const std::vector<unsigned char> storage(48);  // 12 floats
  const auto refusal = [&](std::vector<int64_t> shape, std::vector<int64_t> strides, int64_t offset) {
    try {
      checked({ElementType::f32, std::move(shape), std::move(strides), offset, storage}, "a.weight");
    } catch (const FormatError& error) {
      return std::string(error.what());
    }
    return std::string("(accepted)");
  };
  CHECK(refusal({3, 4}, {4, 1}, 0) == "(accepted)");
  CHECK(refusal({4, 3}, {1, 4}, 0) == "(accepted)");
  CHECK(refusal({0, 5}, {5, 1}, 0) == "(accepted)");
  CHECK(refusal({}, {}, 11) == "(accepted)");
  CHECK_THAT(refusal({}, {}, 12), Contains("a.weight") && Contains("does not fit its storage of 12 float32"));
  CHECK_THAT(refusal({3, 4}, {4, 1}, 1), Contains("does not fit"));
  CHECK_THAT(refusal({3, 4}, {5, 1}, 0), Contains("does not fit"));
  CHECK_THAT(refusal({3}, {1}, -1), Contains("does not fit"));
  CHECK_THAT(refusal({-3}, {1}, 0), Contains("does not fit"));
  CHECK_THAT(refusal({3}, {-1}, 2), Contains("does not fit"));
  CHECK_THAT(refusal({int64_t{1} << 40, int64_t{1} << 40}, {0, 0}, 0), Contains("does not fit"));
  CHECK_THAT(refusal({3}, {std::numeric_limits<int64_t>::max()}, 0), Contains("does not fit"));
  CHECK_THAT(refusal({int64_t{1} << 40}, {0}, 0), Contains(".contiguous()"));
  CHECK_THAT(refusal({3}, {1, 1}, 0), Contains("1 dimensions but 2 strides"));
  CHECK_THAT(refusal(std::vector<int64_t>(17, 1), std::vector<int64_t>(17, 1), 0), Contains("17 dimensions"));
}

TEST_CASE("formats: elements of every type become f32") {
  const auto first = [](ElementType type, const std::string& raw_bytes) {
    const auto storage = bytes_of(raw_bytes);
    return to_f32({type, {1}, {1}, 0, storage})[0];
  };
  CHECK(first(ElementType::f64, raw(1.0 / 3)) == 1.0f / 3);
  CHECK(first(ElementType::f32, raw(-0.25f)) == -0.25f);
  CHECK(first(ElementType::bf16, raw(uint16_t{0xC049})) == -3.140625f);
  CHECK(first(ElementType::f16, raw(uint16_t{0x3555})) == 0.333251953125f);
  CHECK(first(ElementType::f16, raw(uint16_t{0xFBFF})) == -65504.0f);
  CHECK(first(ElementType::f16, raw(uint16_t{0x8001})) == -0x1p-24f);  // the smallest subnormal
  CHECK(first(ElementType::f16, raw(uint16_t{0x03FF})) == 0x3FFp-24f);
  CHECK(std::isinf(first(ElementType::f16, raw(uint16_t{0x7C00}))));
  CHECK(std::isnan(first(ElementType::f16, raw(uint16_t{0x7E00}))));
  CHECK(std::signbit(first(ElementType::f16, raw(uint16_t{0x8000}))));
  CHECK(first(ElementType::i64, raw(int64_t{-7})) == -7.0f);
  CHECK(first(ElementType::i16, raw(int16_t{-300})) == -300.0f);
  CHECK(first(ElementType::u8, "\xFF") == 255.0f);
  CHECK(first(ElementType::boolean, "\x02") == 1.0f);
  // A transposed part of a storage.
  std::string numbers;
  for (int i = 0; i < 12; ++i) numbers += raw(static_cast<float>(i));
  const auto storage = bytes_of(numbers);
  CHECK(to_f32({ElementType::f32, {2, 3}, {1, 4}, 1, storage}) == std::vector<float>{1, 5, 9, 2, 6, 10});
}

TEST_CASE("formats: npy is written and read, in C's and Fortran's order") {
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{2, 3}, {6}, {1, 6, 1}}) {
    const std::string file = write_npy(values, shape);
    CHECK(file.find('\n') % 64 == 63);
    const auto bytes = bytes_of(file);
    const ArrayView view = read_npy(bytes);
    CHECK(view.shape == shape);
    CHECK(to_f32(view) == values);
    for (std::size_t length = 0; length < bytes.size(); ++length)
      CHECK_THROWS_AS(read_npy(Bytes(bytes).first(length)), FormatError);
  }
  CHECK_THROWS_AS(write_npy(values, std::vector<int64_t>{7}), std::invalid_argument);
  std::string data;
  for (const float value : values) data += raw(static_cast<double>(value));
  const auto fortran = npy("{'descr': '<f8', 'fortran_order': True, 'shape': (2L, 3L), }\n", data);
  CHECK(to_f32(read_npy(fortran)) == std::vector<float>{1, 3, 5, 2, 4, 6});
  // The keys in another order, without the last comma, and no dimension at all.
  const auto scalar = npy("{\"shape\": (), \"fortran_order\": False, \"descr\": \"|u1\"}", "\x07");
  CHECK(to_f32(read_npy(scalar)) == std::vector<float>{7});
}

TEST_CASE("formats: npy of other types, versions and sizes is refused by name") {
  const auto refusal = [](const std::vector<unsigned char>& bytes) {
    try {
      read_npy(bytes);
    } catch (const FormatError& error) {
      return std::string(error.what());
    }
    return std::string("(accepted)");
  };
  const auto with = [&](const std::string& descr, const std::string& shape) {
    return refusal(
        npy("{'descr': " + descr + ", 'fortran_order': False, 'shape': " + shape + ", }\n", "12345678"));
  };
  CHECK(with("'<f4'", "(2,)") == "(accepted)");
  CHECK_THAT(with("'>f4'", "(2,)"), Contains("big-endian (>f4)"));
  CHECK_THAT(with("'|O'", "(1,)"), Contains("holds |O"));
  CHECK_THAT(with("'<c8'", "(1,)"), Contains("<c8"));
  CHECK_THAT(with("[('a', '<f4')]", "(2,)"), Contains("records"));
  CHECK_THAT(with("'<f4'", "(3,)"), Contains("needs 12 bytes of data, it has 8") || Contains("does not fit"));
  CHECK_THAT(with("'<f4'", "(1,)"), Contains("needs 4 bytes"));
  CHECK_THAT(with("'<f4'", "(-2,)"), Contains("[-2]"));
  CHECK_THAT(with("'<f4'", "(4611686018427387904, 4611686018427387904)"), Contains("does not fit"));
  CHECK_THAT(with("'<f4'", "(99999999999999999999,)"), Contains("malformed"));
  CHECK_THAT(with("'<f4'", "(2,"), Contains("malformed"));
  CHECK_THAT(with("<f4", "(2,)"), Contains("malformed"));
  auto version = npy("{}", "");
  version[6] = 4;
  CHECK_THAT(refusal(version), Contains("format version 4.0"));
  CHECK_THAT(refusal(bytes_of("PK\x03\x04 not numpy")), Contains("not a .npy file"));
  CHECK_THAT(refusal(npy("{'descr': '<f4'}", "")), Contains("lacks"));
}

TEST_CASE("formats: sizes that a small file claims allocate nothing") {
  const long before = peak_kib();
  const auto refused = [](const std::vector<unsigned char>& bytes) {
    CHECK_THROWS_AS(read_tensors(bytes), FormatError);
  };
  refused(safetensors(R"({"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,16]}})"));
  refused(safetensors(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,16]}})"));
  refused(safetensors(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"));
  refused(safetensors(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4000000000000]}})"));
  refused(safetensors(R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,16]}})"));
  refused(safetensors(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}})"));
  refused(safetensors("{\"a\":" + std::string(1 << 20, '[')));
  refused(safetensors("{" + std::string(1 << 20, ' ')));
  refused(bytes_of(raw(uint64_t{1} << 62) + "{}"));
  // An archive whose 64-bit directory claims 2^60 entries.
  const std::string end = raw(uint32_t{0x06064B50}) + raw(uint64_t{44}) + std::string(12, '\0') +
                          raw(uint64_t{0}) + raw(uint64_t{1} << 60) + raw(uint64_t{4}) + raw(uint64_t{0});
  const std::string locator =
      raw(uint32_t{0x07064B50}) + raw(uint32_t{0}) + raw(uint64_t{4}) + raw(uint32_t{1});
  refused(bytes_of("PK\x03\x04" + end + locator + raw(uint32_t{0x06054B50}) + std::string(18, '\0')));
  refused(bytes_of(""));
  refused(bytes_of("\x80\x02]q\x01."));
  CHECK(peak_kib() - before < 32 * 1024);
}

TEST_CASE("formats: no truncated or damaged checkpoint is read beyond its end") {
  int files = 0;
  for (const char* name :
       {"zip.pth", "legacy.pth", "views_legacy.pth", "wrapped_f16.pth", "bf16.safetensors"}) {
    INFO(name);
    const std::vector<unsigned char> whole = read_whole_file(fixtures + name);
    CHECK_FALSE(read_tensors(whole).tensors.empty());
    ++files;
    for (std::size_t length = 0; length < whole.size(); length += 1 + whole.size() / 400) {
      const std::vector<unsigned char> part(whole.begin(),
                                            whole.begin() + static_cast<std::ptrdiff_t>(length));
      CHECK_THROWS_AS(read_tensors(part), FormatError);
    }
    // Bytes of the directory, the pickle or the header, where the sizes stand: read or refused, never more.
    Random random(7, Purpose::initialization, static_cast<uint64_t>(files));
    for (int i = 0; i < 400; ++i) {
      std::vector<unsigned char> damaged = whole;
      for (int flip = 0; flip < 3; ++flip) {
        const std::size_t reach = std::min<std::size_t>(whole.size(), 16384);
        const std::size_t at =
            static_cast<std::size_t>(random.uniform(0.0f, 1.0f) * static_cast<float>(reach - 1));
        damaged[i % 2 ? at : whole.size() - 1 - at] ^= static_cast<unsigned char>(1u << (i + flip) % 8);
      }
      try {
        for (const NamedArray& tensor : read_tensors(damaged).tensors) to_f32(tensor.array);
      } catch (const FormatError&) {
      }
    }
  }
  CHECK(files == 5);
}

TEST_CASE("formats: a zip entry's checksum is checked") {
  std::vector<unsigned char> bytes = read_whole_file(fixtures + "zip.pth");
  const auto entries = read_zip(bytes);
  const auto data = std::find_if(entries.begin(), entries.end(),
                                 [](const ZipEntry& entry) { return entry.name == "zip/data/0"; });
  REQUIRE(data != entries.end());
  bytes[static_cast<std::size_t>(data->data.data() - bytes.data())] ^= 1;
  CHECK_THROWS_WITH(read_zip(bytes), Contains("zip/data/0") && Contains("checksum"));
}

TEST_CASE("formats: sha256 of known messages") {
  // FIPS 180-4's examples.
  CHECK(sha256("abc", 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("", 0) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#include "engine/safetensors.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace rtfq;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("rtfq-safetensors-" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
};

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TensorFile example() {
  TensorFile file;
  file.tensors.emplace_back("a", Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}));
  file.tensors.emplace_back("codes", Tensor::zeros({5}, DType::u8));
  file.metadata = {{"step", "7"}, {"note", "\"quoted\" \n text"}};
  return file;
}

}  // namespace

TEST_CASE("safetensors: what is written is read back") {
  const Folder folder;
  const std::string path = folder.file("x.safetensors");
  save_tensors(path, example());
  const TensorFile file = load_tensors(path);
  CHECK(file.metadata == example().metadata);
  CHECK(load_metadata(path) == example().metadata);
  CHECK_THROWS_WITH(load_metadata(path + ".no"), Catch::Contains("cannot read"));
  CHECK(file.at("a").dims() == Dims{2, 3});
  CHECK(file.at("a").to_vector() == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(file.at("codes").dtype() == DType::u8);
  CHECK_THROWS_WITH(file.at("b"), Catch::Contains("no tensor b"));
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1);
}

TEST_CASE("safetensors: every truncation and every flipped data bit is noticed") {
  const Folder folder;
  const std::string path = folder.file("x.safetensors"), bad = folder.file("bad.safetensors");
  save_tensors(path, example());
  const std::string whole = read(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write(bad, whole.substr(0, length));
    CHECK_THROWS_WITH(load_tensors(bad), Catch::Contains("bad.safetensors"));
  }
  for (std::size_t i = whole.size() - 29; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 16);
    write(bad, damaged);
    CHECK_THROWS_WITH(load_tensors(bad), Catch::Contains("checksum"));
  }
}

TEST_CASE("safetensors: a changed header is noticed, and the file before is kept") {
  const Folder folder;
  const std::string path = folder.file("x.safetensors"), before = folder.file("before.safetensors");
  save_tensors(path, example(), before);
  CHECK_FALSE(fs::exists(before));
  const std::string first = read(path);
  TensorFile next = example();
  next.metadata["step"] = "8";
  save_tensors(path, next, before);
  CHECK(read(before) == first);
  CHECK(load_metadata(path).at("step") == "8");
  save_tensors(path, example(), before);
  CHECK(load_metadata(before).at("step") == "8");
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 2);

  for (const std::string& text :
       {std::string("\"step\":\"7"), std::string("[2,3]"), std::string("\"codes\"")}) {
    std::string damaged = first;
    const std::size_t at = damaged.find(text);
    REQUIRE(at != std::string::npos);
    damaged[at + text.size() - 2] ^= 1;  // a character of the value or the name
    write(path, damaged);
    CHECK_THROWS_WITH(load_tensors(path), Catch::Contains("x.safetensors"));
    CHECK_THROWS_WITH(load_metadata(path), Catch::Contains("x.safetensors"));
  }
  CHECK(is_temporary_name("checkpoint.safetensors.tmp123"));
  for (const char* name : {"checkpoint.safetensors", "x.tmp", "x.tmp12a", ".lock"})
    CHECK_FALSE(is_temporary_name(name));
}

TEST_CASE("safetensors: hostile headers are refused before anything large is allocated") {
  const Folder folder;
  const std::string bad = folder.file("bad.safetensors");
  const auto attempt = [&](const std::string& header) {
    const uint64_t length = header.size();
    write(bad, std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(16, '\0'));
    CHECK_THROWS_AS(load_tensors(bad), std::runtime_error);
  };
  attempt(R"({"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}})");
  attempt(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})");
  attempt(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})");
  attempt(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})");
  attempt(
      R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})");
  attempt(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})");
  attempt(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})");
  attempt(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})");
  attempt(R"({"a":{"dtype":"F32","shape":)" + std::string(200'000, '[') + std::string(200'000, ']') + "}}");
  attempt(R"([1,2])");
  attempt("{");
  write(bad, std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  CHECK_THROWS_WITH(load_tensors(bad), Catch::Contains("header is cut off"));
}

TEST_CASE("safetensors: a failed write leaves the old file") {
  const Folder folder;
  const std::string path = folder.file("x.safetensors");
  save_tensors(path, example());
  const std::string before = read(path);
  TensorFile twice = example();
  twice.tensors.push_back(twice.tensors.front());
  CHECK_THROWS_AS(save_tensors(path, twice), std::logic_error);
  CHECK(read(path) == before);
  CHECK_THROWS_WITH(save_tensors(folder.file("no/such/folder"), example()), Catch::Contains("cannot create"));
}

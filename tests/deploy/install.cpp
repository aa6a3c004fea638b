// librtfq as a stranger uses it: installed, found by pkg-config and by CMake, called from C and from Python.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/deploy/banks.h"
#include "tests/support/skip.h"
#include "tools/deploy/rtfq.h"
#include "tools/deploy/session.h"

using namespace rtfq;
using namespace rtfq::test;
namespace fs = std::filesystem;

namespace {

class Place {
 public:
  fs::path root = fs::temp_directory_path() / ("rtfq-install-" + std::to_string(::getpid()));
  Place() {
    fs::remove_all(root);
    fs::create_directories(root);
  }
  ~Place() { fs::remove_all(root); }
  std::string at(const std::string& name) const { return (root / name).string(); }

  /// What a shell command prints; it must succeed.
  std::string run(const std::string& command) const {
    const int status = std::system(("{ " + command + "; } >" + at("log") + " 2>&1").c_str());
    std::ifstream in(at("log"));
    std::string text{std::istreambuf_iterator<char>(in), {}};
    INFO(command << "\n" << text);
    REQUIRE(status == 0);
    return text;
  }
};

bool has(const char* program) {
  return std::system((std::string("command -v ") + program + " >/dev/null").c_str()) == 0;
}

}  // namespace

TEST_CASE("librtfq: installed, it serves C by pkg-config and CMake, and Python") {
  if (!RTFQ_HAS_LIBRARY) {
    skip("librtfq is not built: configure with -DRTFQ_SHARED=ON");
    return;
  }
  const Place place;
  place.run("cmake --install " RTFQ_BUILD_DIR " --component library --prefix " + place.at("usr"));
  const std::string library = place.at("usr/lib/librtfq.so");
  REQUIRE(fs::exists(place.at("usr/include/rtfq.h")));
  REQUIRE(fs::exists(library));
  // Nothing but the interface is visible, and nothing of training is inside.
  const std::string symbols = place.run("nm -D --defined-only " + library + " | awk '{print $3}'");
  std::istringstream lines(symbols);
  std::size_t count = 0;
  for (std::string symbol; std::getline(lines, symbol); ++count) CHECK(symbol.rfind("rtfq_", 0) == 0);
  CHECK(count == 23);

  const auto net = seen_bank({.bits = {4}, .resolutions = {32}});
  const auto file = packed_bank(*net);
  std::ofstream(place.at("model.rtfq"), std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  Random random(4, Purpose::test);
  data::Image image{45, 60, 3, {}};
  image.pixels.resize(image.offset(45, 0));
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.below(256));
  std::ofstream(place.at("image.ppm"), std::ios::binary)
      << "P6\n60 45\n255\n"
      << std::string(image.pixels.begin(), image.pixels.end());
  // The same in this process.
  const auto loaded = deploy::LoadedModel::from_file(place.at("model.rtfq"));
  const auto best = *deploy::select(*loaded, {});
  const auto expected = [&](std::size_t subnet, bool with_id) {
    deploy::Session session(loaded, {1, 1, {subnet}});
    std::vector<float> answer(5);
    session.run(std::span(&image, 1), answer.data());
    rtfq_softmax(answer.data(), 5);
    const auto k = std::max_element(answer.begin(), answer.end()) - answer.begin();
    char text[64];
    std::snprintf(text, sizeof text, "%s %.6f",
                  loaded->model().classes()[static_cast<std::size_t>(k)].c_str(),
                  static_cast<double>(answer[static_cast<std::size_t>(k)]));
    return text + (with_id ? " " + id(loaded->model().subnets()[subnet].subnet) : "") + "\n";
  };
  const std::string example = RTFQ_SOURCE_DIR "/docs/examples/deploy/classify";
  const std::string arguments = " " + place.at("model.rtfq") + " " + place.at("image.ppm");
  if (has("pkg-config"))
    place.run("PKG_CONFIG_PATH=" + place.at("usr/lib/pkgconfig") +
              "; export PKG_CONFIG_PATH; cc -Wall -Wextra -Werror " + example +
              ".c $(pkg-config --cflags --libs rtfq) -o " + place.at("by-pkg-config"));
  else
    place.run("cc " + example + ".c -I" + place.at("usr/include") + " -L" + place.at("usr/lib") +
              " -lrtfq -Wl,-rpath," + place.at("usr/lib") + " -o " + place.at("by-pkg-config"));
  CHECK(place.run(place.at("by-pkg-config") + arguments) == expected(best, true));

  fs::create_directories(place.at("project"));
  std::ofstream(place.at("project/CMakeLists.txt"))
      << "cmake_minimum_required(VERSION 3.20)\nproject(app C)\nfind_package(rtfq "
         "REQUIRED)\nadd_executable(app "
      << example << ".c)\ntarget_link_libraries(app PRIVATE rtfq::rtfq)\n";
  place.run("cmake -S " + place.at("project") + " -B " + place.at("project/build") +
            " -DCMAKE_PREFIX_PATH=" + place.at("usr") + " && cmake --build " + place.at("project/build"));
  CHECK(place.run(place.at("project/build/app") + arguments) == expected(best, true));
  CHECK(place.run("! " + place.at("project/build/app") + arguments + " 1") ==
        "classify: [rtfq] no subnet fits the limits\n");

  if (has("python3"))
    CHECK(place.run("python3 " + example + ".py " + library + arguments) == expected(0, false));
}

// Dependencies point one way: kernels <- engine <- {models, data} <- training <- tools. Nobody includes
// tests, and the headers of vendor libraries are seen only below kernels/. What runs packed models
// (tools/deploy) stands on the engine, models and data alone. Read from the #include lines of every source
// file.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

/// What each room may include, besides itself.
const std::map<std::string, std::set<std::string>> allowed{
    {"kernels", {}},
    {"engine", {"kernels"}},
    {"models", {"kernels", "engine"}},
    {"data", {"kernels", "engine"}},
    {"training", {"kernels", "engine", "models", "data"}},
    {"tools", {"kernels", "engine", "models", "data", "training"}},
};

bool is_source(const fs::path& path) {
  static const std::set<std::string> endings{".h", ".hpp", ".c", ".cpp", ".cc", ".cu", ".cuh", ".inc"};
  return endings.count(path.extension().string()) > 0;
}

bool is_vendor(const std::string& header) {
  static const std::regex vendor(
      R"((dnnl|oneapi/dnnl|cuda|cublas|cudnn|curand|nvrtc|nccl|mma)[a-zA-Z0-9_/]*\.(h|hpp).*)");
  return std::regex_match(header, vendor);
}

/// Files that are copied into folders of a plug-in's author, where their neighbours lie beside them.
bool leaves_the_tree(const std::string& path) {
  return path == "kernels/plugin.h" || path.rfind("tools/bench/templates/", 0) == 0;
}

struct Findings {
  std::size_t files = 0, includes = 0;
  std::vector<std::string> violations;
};

void scan_file(const fs::path& root, const fs::path& path, const std::string& room, Findings& findings) {
  static const std::regex include(R"(^\s*#\s*include\s*(["<])([^">]+)[">].*)");
  std::ifstream in(path);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::smatch match;
    if (!std::regex_match(line, match, include)) continue;
    ++findings.includes;
    const bool quoted = match[1] == "\"";
    const std::string header = match[2];
    const std::string first = header.substr(0, header.find('/'));
    const std::string where =
        fs::relative(path, root).string() + ":" + std::to_string(number) + " includes " + header;
    const bool names_room = header.find('/') != header.npos && (allowed.count(first) > 0 || first == "tests");
    if (names_room && first != room && allowed.at(room).count(first) == 0)
      findings.violations.push_back(where + ": " + room + " may not depend on " + first);
    const auto below = [](const std::string& file, const char* folder) { return file.rfind(folder, 0) == 0; };
    if (below(fs::relative(path, root).string(), "tools/deploy/") &&
        (first == "training" || (first == "tools" && names_room && !below(header, "tools/deploy/"))))
      findings.violations.push_back(where + ": a device has nothing of training nor of the command line");
    if (room != "kernels" && is_vendor(header))
      findings.violations.push_back(where + ": vendor headers stay below kernels/");
    if (fs::relative(path, root).string().rfind("kernels/simt/", 0) == 0 && names_room &&
        header.rfind("kernels/simt/", 0) != 0)
      findings.violations.push_back(where + ": the executor depends on nothing else of the project");
    if (header.rfind("../", 0) == 0 || header.find("/../") != header.npos)
      findings.violations.push_back(where + ": write the path from the root of the project");
    const bool beside = header.find('/') == header.npos && leaves_the_tree(fs::relative(path, root).string());
    if (quoted && !beside && !fs::exists(root / header) && !is_vendor(header))
      findings.violations.push_back(where + ": there is no such file from the root of the project");
  }
}

Findings scan(const fs::path& root) {
  Findings findings;
  for (const auto& [room, depends] : allowed) {
    if (!fs::exists(root / room)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      if (!entry.is_regular_file() || !is_source(entry.path())) continue;
      ++findings.files;
      scan_file(root, entry.path(), room, findings);
    }
  }
  return findings;
}

/// A made-up source tree that is gone at the end.
class Tree {
 public:
  Tree() : root_(fs::current_path() / ("includes-test-tree-" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
    for (const auto& [room, depends] : allowed) add(room + "/a.h", "");
    add("tests/a.h", "");
  }
  ~Tree() { fs::remove_all(root_); }
  void add(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }
  Findings scan() const { return ::scan(root_); }

 private:
  fs::path root_;
};

}  // namespace

TEST_CASE("includes: the source tree's dependencies point one way") {
  const Findings findings = scan(RTFQ_SOURCE_DIR);
  for (const std::string& violation : findings.violations) FAIL_CHECK(violation);
  CHECK(findings.files > 60);
  CHECK(findings.includes > 300);
}

TEST_CASE("includes: every forbidden direction is found") {
  for (const auto& [room, depends] : allowed)
    for (const auto& [other, ignored] : allowed) {
      INFO(room << " includes " << other);
      const Tree tree;
      tree.add(room + "/deep/b.cpp", "  #  include \"" + other + "/a.h\"  // why");
      CHECK(tree.scan().violations.size() == (room == other || depends.count(other) ? 0u : 1u));
    }
}

TEST_CASE("includes: tests, vendor headers, relative and missing paths are found") {
  const auto violations = [](const std::string& path, const std::string& include) {
    const Tree tree;
    tree.add(path, "#include " + include);
    return tree.scan().violations.size();
  };
  for (const auto& [room, depends] : allowed) CHECK(violations(room + "/b.h", "\"tests/a.h\"") == 1);
  for (const char* header :
       {"<dnnl.hpp>", "<oneapi/dnnl/dnnl.h>", "<cuda_runtime.h>", "<cublas_v2.h>", "\"cudnn.h\""}) {
    CHECK(violations("engine/b.cpp", header) == 1);
    CHECK(violations("tools/b.cu", header) == 1);
    CHECK(violations("kernels/cuda/b.cu", header) == 0);
  }
  CHECK(violations("kernels/simt/b.h", "\"kernels/a.h\"") == 1);
  CHECK(violations("tools/deploy/b.cpp", "\"training/a.h\"") == 1);
  CHECK(violations("tools/deploy/b.cpp", "\"tools/a.h\"") == 1);
  CHECK(violations("tools/deploy/b.cpp", "\"models/a.h\"") == 0);
  CHECK(violations("kernels/simt/b.h", "<boost/context/detail/fcontext.hpp>") == 0);
  CHECK(violations("engine/b.cpp", "\"../kernels/a.h\"") >= 1);
  CHECK(violations("engine/b.cpp", "\"a.h\"") == 1);
  CHECK(violations("engine/b.cpp", "<vector>") == 0);
  CHECK(violations("engine/b.txt", "\"training/a.h\"") == 0);
}

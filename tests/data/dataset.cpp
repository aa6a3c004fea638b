#include "data/dataset.h"

#include <catch2/catch.hpp>

#include "tests/data/folder.h"

using namespace rtfq::data;
using namespace rtfq::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// What is found must exist but is not decoded here.
void touch(const Folder& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) folder.write(name, std::string("x"));
}

std::vector<std::string> below(const Folder& folder, const Dataset& dataset) {
  std::vector<std::string> names;
  for (const Sample& sample : dataset.samples)
    names.push_back(fs::relative(sample.path, folder.path()).string());
  return names;
}

std::vector<int> labels(const Dataset& dataset) {
  std::vector<int> result;
  for (const Sample& sample : dataset.samples) result.push_back(sample.label);
  return result;
}

using Names = std::vector<std::string>;
using Labels = std::vector<int>;

}  // namespace

TEST_CASE("a folder of class folders") {
  const Folder folder;
  touch(folder, {"dog/b.png", "dog/a.JPG", "cat/deep/er/x.jpeg", "cat/z.ppm", "cat/notes.txt",
                 "cat/.hidden.png", ".git/y.png", "README.md", "mouse pad/1.gif"});
  const Dataset dataset = open_dataset(folder.path());
  CHECK(dataset.classes == Names{"cat", "dog", "mouse pad"});
  CHECK(below(folder, dataset) ==
        Names{"cat/deep/er/x.jpeg", "cat/z.ppm", "dog/a.JPG", "dog/b.png", "mouse pad/1.gif"});
  CHECK(labels(dataset) == Labels{0, 0, 1, 1, 2});
  CHECK(dataset.labelled());
  CHECK(dataset.origin == folder.path());

  const Dataset same = open_dataset(folder.path() + "/", dataset.classes);
  CHECK(below(folder, same) == below(folder, dataset));
  CHECK(labels(same) == labels(dataset));
  // The order of given classes is the order of their indices.
  CHECK(labels(open_dataset(folder.path(), {"dog", "mouse pad", "cat"})) == Labels{0, 0, 1, 2, 2});
}

TEST_CASE("classes that do not match those of the source") {
  const Folder folder;
  touch(folder, {"cat/1.png", "dog/1.png"});
  CHECK_THAT(message([&] {
               open_dataset(folder.path(), {"cat", "dog", "emu"});
             }),
             Contains("no folder for `emu`"));
  CHECK_THAT(message([&] { open_dataset(folder.path(), {"cat"}); }), Contains("unknown `dog`"));
  CHECK_THAT(message([&] {
               open_dataset(folder.path(), {"cat", "Dog"});
             }),
             Contains("no folder for `Dog`") && Contains("unknown `dog`"));
  fs::create_directories(folder.path("emu"));
  CHECK_THAT(message([&] { open_dataset(folder.path()); }),
             Contains("emu") && Contains("contains no images"));
}

TEST_CASE("a flat folder is unlabelled, even where classes are known") {
  const Folder folder;
  touch(folder, {"b.png", "a.jpg", "list.txt"});
  const Dataset dataset = open_dataset(folder.path());
  CHECK(below(folder, dataset) == Names{"a.jpg", "b.png"});
  CHECK(labels(dataset) == Labels{-1, -1});
  CHECK(dataset.classes.empty());
  CHECK_FALSE(dataset.labelled());
  CHECK(open_dataset(folder.path(), {"x", "y"}).classes == Names{"x", "y"});
  touch(folder, {"class/c.png"});
  CHECK_THAT(message([&] { open_dataset(folder.path()); }), Contains("both class folders, such as `class`"));
}

TEST_CASE("locations that are no data set") {
  const Folder folder;
  CHECK_THAT(message([&] { open_dataset(folder.path()); }), Contains("contains no images"));
  CHECK_THAT(message([&] { open_dataset(folder.path("nowhere")); }), Contains("nowhere does not exist"));
  CHECK_THAT(message([&] { open_dataset(""); }), Contains("no data set named"));
  CHECK_THAT(message([&] { open_dataset("/dev/null"); }), Contains("neither a folder nor a list file"));
  touch(folder, {"one.png"});
  CHECK_THAT(message([&] { open_dataset(folder.path("one.png")); }), Contains("is a single image"));
  const std::string binary = folder.write("set.tar", std::string("ab\0cd", 5));
  CHECK_THAT(message([&] { open_dataset(binary); }), Contains("is not a list file"));
}

TEST_CASE("list files: integers, comments, blanks in paths, line endings") {
  const Folder folder;
  touch(folder, {"a b/1.png", "a b/my 2.png", "c.png", "noextension"});
  const std::string list = folder.write(
      "list.txt",
      "\xEF\xBB\xBF# comment\r\n\r\n  a b/my 2.png   2\r\na b/1.png 0\nc.png\t1\nnoextension 2\n");
  const Dataset dataset = open_dataset(list);
  CHECK(below(folder, dataset) == Names{"a b/my 2.png", "a b/1.png", "c.png", "noextension"});
  CHECK(labels(dataset) == Labels{2, 0, 1, 2});
  CHECK(dataset.classes == Names{"0", "1", "2"});

  const Dataset named = open_dataset(list, {"ant", "bee", "cat"});
  CHECK(named.classes == Names{"ant", "bee", "cat"});
  CHECK(labels(named) == Labels{2, 0, 1, 2});
  CHECK_THAT(message([&] {
               open_dataset(list, {"ant", "bee"});
             }),
             Contains("line 3 has label 2") && Contains("2 classes"));
}

TEST_CASE("list files: names as labels") {
  const Folder folder;
  touch(folder, {"1.png", "2 x.png", "3.png"});
  const std::string list = folder.write("list.txt", "2 x.png dog\n1.png cat\n3.png dog\n");
  CHECK(open_dataset(list).classes == Names{"cat", "dog"});
  CHECK(labels(open_dataset(list)) == Labels{1, 0, 1});
  CHECK(labels(open_dataset(list, {"ape", "cat", "dog"})) ==
        Labels{2, 1, 2});  // a list may choose among classes
  CHECK_THAT(message([&] {
               open_dataset(list, {"cat", "cow"});
             }),
             Contains("line 1 has the unknown label `dog`"));

  const std::string blank = folder.write("blank.txt", "1.png mouse pad\n3.png\tdesk lamp\n2 x.png pad\n");
  CHECK(labels(open_dataset(blank, {"desk lamp", "mouse pad", "pad"})) == Labels{1, 0, 2});
  // Class folders named by numbers: the number is the name, "10" sorts before "9".
  const std::string numbers = folder.write("numbers.txt", "1.png 9\n3.png 10\n");
  CHECK(labels(open_dataset(numbers, {"10", "9"})) == Labels{1, 0});
  CHECK_THAT(message([&] {
               open_dataset(numbers, {"9", "8"});
             }),
             Contains("line 2 has the unknown label `10`"));
  const std::string mixed = folder.write("mixed.txt", "1.png cat\n3.png 1\n");
  CHECK_THAT(message([&] { open_dataset(mixed); }),
             Contains("line 2 has the integer label 1") && Contains("line 1"));
}

TEST_CASE("list files: unlabelled, another root, missing files") {
  const Folder folder;
  touch(folder, {"images/my photo 3.png", "images/b.png"});
  const std::string list = folder.write("lists/list.txt", "my photo 3.png\nb.png\n");
  CHECK_THAT(message([&] { open_dataset(list); }), Contains("line 1 names") && Contains("missing"));
  const Dataset dataset = open_dataset(list, {}, folder.path("images"));
  CHECK(below(folder, dataset) == Names{"images/my photo 3.png", "images/b.png"});
  CHECK_FALSE(dataset.labelled());
  CHECK(dataset.classes.empty());

  const std::string absolute = folder.write("lists/absolute.txt", folder.path("images/b.png") + " 0\n");
  CHECK(open_dataset(absolute, {}, {}, true).samples.at(0).path == folder.path("images/b.png"));
  const std::string partly = folder.write("lists/partly.txt", "../images/b.png 0\n../images/b.png\n");
  CHECK_THAT(message([&] { open_dataset(partly); }), Contains("line 2 has no label"));
  const std::string empty = folder.write("lists/empty.txt", "# nothing\n\n");
  CHECK_THAT(message([&] { open_dataset(empty); }), Contains("names no images"));
  const std::string to_folder = folder.write("lists/folder.txt", "../images 0\n");
  CHECK_THAT(message([&] { open_dataset(to_folder, {}, {}, true); }), Contains("which is no file"));
}

TEST_CASE("labels removed and samples held out") {
  Dataset dataset{"here", {"a", "b"}, {}};
  for (int i = 0; i < 11; ++i) dataset.samples.push_back({std::to_string(i), i % 2});
  const Dataset bare = without_labels(dataset);
  CHECK(labels(bare) == Labels(11, -1));
  CHECK(bare.classes == dataset.classes);
  CHECK(bare.samples[3].path == "3");
  CHECK(dataset.labelled());
  CHECK_FALSE(Dataset{}.labelled());

  const auto [kept, held] = hold_out(dataset, 5);
  REQUIRE(held.samples.size() == 2);
  CHECK(held.samples[0].path == "4");
  CHECK(held.samples[1].path == "9");
  CHECK(kept.samples.size() == 9);
  CHECK(kept.classes == dataset.classes);
  CHECK(held.origin == "here");
  CHECK(hold_out(dataset, 0).first.samples.size() == 11);
  CHECK(hold_out(dataset, 0).second.samples.empty());
  CHECK_THROWS_AS(hold_out(dataset, 1), std::invalid_argument);
  CHECK_THROWS_AS(hold_out(dataset, -2), std::invalid_argument);
}

TEST_CASE("dataset: the paths of a list stay below the folder where they start") {
  const Folder folder;
  touch(folder, {"set/a.png", "set/b/c.png", "secret.png"});
  const auto list = [&](const std::string& path) {
    return folder.write("set/list.txt", "a.png\n" + path + "\n");
  };
  for (const std::string& path : {std::string("../secret.png"), std::string("b/../../secret.png"),
                                  std::string("b/../../set/../secret.png"), folder.path("secret.png")}) {
    INFO(path);
    CHECK_THAT(message([&] { open_dataset(list(path)); }), Contains("line 2 names " + path) &&
                                                               Contains("outside of") &&
                                                               Contains("data.outside_paths=true"));
    CHECK(open_dataset(list(path), {}, {}, true).samples.size() == 2);
  }
  for (const std::string& path : {std::string("b/c.png"), std::string("b/../a.png"),
                                  std::string("../set/a.png"), folder.path("set/b/c.png")})
    CHECK(open_dataset(list(path)).samples.size() == 2);
}

TEST_CASE("dataset: a line or two do not make millions of classes") {
  const Folder folder;
  touch(folder, {"a.png"});
  CHECK_THAT(message([&] { open_dataset(folder.write("list.txt", "a.png 70000\n")); }),
             Contains("beyond any plausible"));
}

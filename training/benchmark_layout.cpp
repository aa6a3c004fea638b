// Where the domains of a benchmark are, and whether they are whole.
#include <algorithm>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "data/dataset.h"
#include "engine/sha256.h"
#include "training/benchmark_names.h"
#include "training/report/text.h"

namespace rtfq::benchmark {
namespace fs = std::filesystem;
namespace {

/// Subfolders by name, without hidden ones.
std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_directory(error) && entry.path().filename().string()[0] != '.') out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

/// The folder of a domain in `base`, or nothing. Original archives keep classes in DOMAIN/images.
fs::path folder_of(const Domain& domain, const fs::path& base) {
  for (const fs::path& folder : folders_in(base)) {
    if (!is_called(domain, folder.filename().string())) continue;
    const std::vector<fs::path> inside = folders_in(folder);
    for (const fs::path& below : inside)
      if (plain_name(below.filename().string()) == "images" && !folders_in(below).empty()) return below;
    if (!inside.empty()) return folder;
  }
  return {};
}

/// A list file "NAME<suffix>.txt" of a domain in `base`, or in the folder for lists that TLlib puts there.
fs::path list_of(const Domain& domain, const fs::path& base, const std::string& suffix) {
  for (const char* folder : {"", "image_list", "image_lists", "lists"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(base / folder, error)) {
      const std::string stem = entry.path().stem().string();
      if (entry.path().extension() == ".txt" && stem.size() > suffix.size() && stem.ends_with(suffix) &&
          is_called(domain, stem.substr(0, stem.size() - suffix.size())))
        return entry.path();
    }
  }
  return {};
}

struct Candidate {
  std::map<std::string, fs::path> folders, train, test;  ///< by code
  std::size_t found() const {
    std::set<std::string> codes;
    for (const auto* part : {&folders, &train})
      for (const auto& [code, path] : *part) codes.insert(code);
    return codes.size();
  }
};

Candidate look(const Protocol& p, const fs::path& base) {
  Candidate out;
  for (const Domain& domain : p.domains) {
    if (const fs::path folder = folder_of(domain, base); !folder.empty()) out.folders[domain.code] = folder;
    const fs::path train = list_of(domain, base, p.splits ? "_train" : "");
    const fs::path test = p.splits ? list_of(domain, base, "_test") : train;
    if (!train.empty() && !test.empty()) out.train[domain.code] = train, out.test[domain.code] = test;
  }
  return out;
}

/// Of the root and the folders up to two levels below it the one with the most domains, the nearest first.
Candidate best(const Protocol& p, const fs::path& root) {
  Candidate out;
  std::vector<fs::path> level{root};
  for (int depth = 0; depth <= 2; ++depth) {
    std::vector<fs::path> next;
    for (const fs::path& base : level) {
      Candidate here = look(p, base);
      if (here.found() > out.found()) out = std::move(here);
      if (depth < 2)
        for (const fs::path& folder : folders_in(base)) next.push_back(folder);
    }
    if (out.found() > 1) break;  // a folder below a domain's could bear a domain's name
    level = std::move(next);
  }
  return out;
}

std::string counted(int64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

/// "Amazon: 2,816 images, expected 2,817: 1 missing".
void compare_counts(const std::string& what, int64_t count, const std::vector<int64_t>& known,
                    std::vector<std::string>& notes) {
  if (known.empty() || known.front() == 0 || std::find(known.begin(), known.end(), count) != known.end())
    return;
  const int64_t nearest = *std::min_element(known.begin(), known.end(), [&](int64_t a, int64_t b) {
    return std::abs(a - count) < std::abs(b - count);
  });
  notes.push_back(what + ": " + counted(count) + " images, expected " + counted(nearest) + ": " +
                  counted(std::abs(nearest - count)) + (count < nearest ? " missing" : " surplus"));
}

std::string some_of(const std::set<std::string>& names) {
  std::string out;
  std::size_t shown = 0;
  for (const std::string& name : names) {
    if (++shown > 5) return out + " and " + std::to_string(names.size() - 5) + " more";
    out += (out.empty() ? "" : ", ") + name;
  }
  return out;
}

/// Names of classes that are in `all` and not in `some`.
std::set<std::string> lacking(const std::vector<std::string>& all, const std::vector<std::string>& some) {
  std::set<std::string> out(all.begin(), all.end());
  for (const std::string& name : some) out.erase(name);
  return out;
}

/// Images of two lists of one domain, or of one, as lines that do not depend on where the domain lies.
std::string hash_of(const fs::path& base, const std::vector<const data::Dataset*>& parts) {
  std::string text;
  for (const data::Dataset* part : parts)
    for (const data::Sample& sample : part->samples)
      text += fs::path(sample.path).lexically_relative(base).generic_string() + "\t" +
              (sample.label < 0 ? "" : part->classes[static_cast<std::size_t>(sample.label)]) + "\n";
  return sha256(text.data(), text.size());
}

}  // namespace

Located locate(const Protocol& p, const std::string& root, const std::vector<std::string>& codes) {
  if (!fs::is_directory(root))
    throw std::invalid_argument("[benchmark] --root expects the folder of " + p.title + ", got " + root +
                                (fs::exists(root) ? ", which is no folder" : ", which does not exist"));
  const Candidate found = best(p, root);
  const bool every_list = std::all_of(codes.begin(), codes.end(), [&](const std::string& code) {
    return found.train.count(code) > 0 || found.folders.count(code) == 0;
  });
  // Lists where they split the images, or where there is nothing else.
  const bool lists = every_list && !found.train.empty() && (p.splits || found.folders.empty());
  Located out;
  if (p.splits && !lists)
    out.notes.push_back("no lists NAME_train.txt and NAME_test.txt of " + p.title +
                        ": all images of a domain are both trained and measured on");
  std::vector<std::string> classes;
  std::string first;
  for (const Domain& domain : p.domains) {
    if (std::find(codes.begin(), codes.end(), domain.code) == codes.end()) continue;
    const auto& from = lists ? found.train : found.folders;
    if (from.count(domain.code) == 0) {
      std::string names;
      for (const std::string& name : domain.names) names += (names.empty() ? "" : " or ") + name;
      out.notes.push_back(domain.title + " is missing: no folder " + names + " with class folders in " +
                          root + " or up to two levels below it");
      continue;
    }
    const auto relative = [&](const fs::path& path) {
      const std::string text = path.lexically_relative(root).generic_string();
      return text == "." ? std::string() : text;
    };
    const fs::path train_at = from.at(domain.code), test_at = lists ? found.test.at(domain.code) : train_at;
    const data::Dataset train = data::open_dataset(train_at.string());
    const data::Dataset test = train_at == test_at ? train : data::open_dataset(test_at.string());
    Place place{relative(train_at), relative(test_at), static_cast<int64_t>(train.samples.size()),
                static_cast<int64_t>(test.samples.size()), ""};
    const fs::path base = lists ? test_at.parent_path() : train_at;
    place.hash = train_at == test_at ? hash_of(base, {&train}) : hash_of(base, {&train, &test});
    if (lists && p.splits) {
      compare_counts(domain.title + ", training list", place.train_images, {domain.train}, out.notes);
      compare_counts(domain.title + ", test list", place.test_images, {domain.test}, out.notes);
    } else {
      compare_counts(domain.title, place.train_images, domain.images, out.notes);
    }
    if (static_cast<int64_t>(train.classes.size()) != p.classes)
      out.notes.push_back(domain.title + ": " + std::to_string(train.classes.size()) + " classes, expected " +
                          std::to_string(p.classes));
    if (classes.empty()) {
      classes = train.classes;
      first = domain.title;
    } else if (train.classes != classes) {
      const auto here = lacking(classes, train.classes), there = lacking(train.classes, classes);
      std::string text;
      if (!here.empty()) text += "; " + domain.title + " lacks " + some_of(here);
      if (!there.empty()) text += "; " + first + " lacks " + some_of(there);
      throw std::invalid_argument("[benchmark] " + domain.title + " and " + first + " of " + p.title +
                                  " differ in their classes" + text + ": complete the folders");
    }
    out.places[domain.code] = place;
  }
  if (out.places.empty())
    throw std::invalid_argument("[benchmark] " + root + " holds none of the domains of " + p.title + ": " +
                                (out.notes.empty() ? "" : out.notes.back()));
  return out;
}

}  // namespace rtfq::benchmark

#include "data/dataset.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <unordered_map>

#include "data/list_file.h"

namespace rtfq::data {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& message) {
  throw std::runtime_error("[data] " + message);
}

std::string quoted(const std::vector<std::string>& names) {
  constexpr size_t shown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), shown); ++i) text += (i ? ", `" : "`") + names[i] + "`";
  if (names.size() > shown) text += " and " + std::to_string(names.size() - shown) + " more";
  return text;
}

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

/// Image files at any depth below `folder`, sorted by their path below it, byte by byte.
std::vector<std::string> images_below(const fs::path& folder) {
  std::vector<std::string> paths;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    if (hidden(it->path())) {
      it.disable_recursion_pending();
      continue;
    }
    if (!it->is_directory() && has_image_extension(it->path().string())) paths.push_back(it->path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void require_same_classes(const std::string& location, const std::vector<std::string>& found,
                          const std::vector<std::string>& expected) {
  std::vector<std::string> surplus, missing;
  for (const std::string& name : found)
    if (std::find(expected.begin(), expected.end(), name) == expected.end()) surplus.push_back(name);
  for (const std::string& name : expected)
    if (std::find(found.begin(), found.end(), name) == found.end()) missing.push_back(name);
  if (surplus.empty() && missing.empty()) return;
  std::string message =
      location + " does not have the " + std::to_string(expected.size()) + " expected classes:";
  if (!missing.empty()) message += " no folder for " + quoted(missing);
  if (!surplus.empty()) message += (missing.empty() ? " unknown " : "; unknown ") + quoted(surplus);
  fail(message + ": source and target need the same class folders; a list file can choose among them");
}

Dataset open_folder(const std::string& location, const std::vector<std::string>& classes) {
  std::vector<std::string> folders, images;
  for (const fs::directory_entry& entry : fs::directory_iterator(location)) {
    if (hidden(entry.path())) continue;
    if (entry.is_directory())
      folders.push_back(entry.path().filename().string());
    else if (has_image_extension(entry.path().string()))
      images.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end());
  std::sort(images.begin(), images.end());
  if (folders.empty() && images.empty())
    fail(location +
         " contains no images: expected a subfolder for each class, or images (PNG, JPEG, PGM, PPM)");
  if (!folders.empty() && !images.empty())
    fail(location + " contains both class folders, such as `" + folders.front() + "`, and images, such as " +
         images.front() + ": expected one or the other");

  Dataset dataset{location, classes, {}};
  if (folders.empty()) {
    for (std::string& path : images) dataset.samples.push_back({std::move(path), -1});
    return dataset;
  }
  if (classes.empty())
    dataset.classes = folders;
  else
    require_same_classes(location, folders, classes);
  for (size_t label = 0; label < dataset.classes.size(); ++label) {
    const fs::path folder = fs::path(location) / dataset.classes[label];
    std::vector<std::string> paths = images_below(folder);
    if (paths.empty()) fail("class folder " + folder.string() + " contains no images");
    for (std::string& path : paths) dataset.samples.push_back({std::move(path), static_cast<int>(label)});
  }
  return dataset;
}

/// The classes a labelled list speaks of when nobody says: 0..max where all labels are integers, else the
/// names.
std::vector<std::string> classes_of(const std::string& location, const std::vector<ListLine>& lines) {
  const ListLine *number = nullptr, *name = nullptr;
  int largest = -1;
  std::vector<std::string> names;
  for (const ListLine& line : lines) {
    if (is_label_number(line.label)) {
      number = &line;
      largest = std::max(largest, std::stoi(line.label));
    } else {
      name = &line;
      names.push_back(line.label);
    }
  }
  if (number && name)
    fail(location + ": line " + std::to_string(number->line) + " has the integer label " + number->label +
         ", line " + std::to_string(name->line) + " the name `" + name->label +
         "`: use integers or names throughout");
  if (name) {
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }
  // A line or two must not make millions of names.
  if (largest >= 1 << 16 && static_cast<size_t>(largest) > lines.size())
    fail(location + ": label " + std::to_string(largest) + " is beyond any plausible class");
  for (int i = 0; i <= largest; ++i) names.push_back(std::to_string(i));
  return names;
}

/// Where relative paths of a list start: at its folder or, where the first one is not there, at the folder
/// above it, since some data sets keep their lists in a folder of their own.
fs::path base_of(const std::string& list, const std::string& first) {
  const fs::path folder = fs::path(list).parent_path();
  const fs::path above = fs::absolute(folder.empty() ? "." : folder).parent_path();
  std::error_code error;
  return !fs::exists(folder / first, error) && fs::is_regular_file(above / first, error) ? above : folder;
}

/// Whether `path` is below `folder` once "." and ".." are worked out, without looking at the disk.
bool is_below(const fs::path& path, const fs::path& folder) {
  const fs::path from = fs::absolute(folder.empty() ? "." : folder).lexically_normal();
  const fs::path relative = fs::absolute(path).lexically_normal().lexically_relative(from);
  return !relative.empty() && *relative.begin() != "..";
}

Dataset open_list(const std::string& location, const std::vector<std::string>& classes,
                  const std::string& root, bool outside) {
  const std::vector<ListLine> lines = read_list(location, classes);
  const fs::path base = root.empty() ? base_of(location, lines.front().path) : fs::path(root);
  const bool labelled = lines.front().labelled;
  for (const ListLine& line : lines)
    if (line.labelled != labelled)
      fail(location + ": line " + std::to_string(line.line) + (labelled ? " has no label" : " has a label") +
           ", line " + std::to_string(lines.front().line) + (labelled ? " has one" : " has none") +
           ": label all lines or none");

  Dataset dataset{location, classes, {}};
  if (labelled && classes.empty()) dataset.classes = classes_of(location, lines);
  const std::vector<std::string>& names = dataset.classes;
  // Folders named by numbers ("0" to "9"): a number is then a class's name, which need not be its index.
  const bool numeric_names = std::all_of(names.begin(), names.end(), is_label_number);

  std::unordered_map<std::string, int> index;
  for (size_t i = 0; i < names.size(); ++i) index.emplace(names[i], static_cast<int>(i));
  dataset.samples.reserve(lines.size());
  for (const ListLine& line : lines) {
    const std::string where = location + ": line " + std::to_string(line.line);
    Sample sample;
    if (labelled) {
      const auto found = index.find(line.label);
      if (found != index.end()) {
        sample.label = found->second;
      } else if (is_label_number(line.label) && !numeric_names) {
        sample.label = std::stoi(line.label);
        if (static_cast<size_t>(sample.label) >= names.size())
          fail(where + " has label " + line.label + ", but there are " + std::to_string(names.size()) +
               " classes, numbered from 0");
      } else {
        fail(where + " has the unknown label `" + line.label + "`: expected one of " + quoted(names) +
             " or an integer; a path with blanks and no label needs an image file's extension");
      }
    }
    const fs::path path(line.path);
    sample.path = (path.is_absolute() ? path : base / path).string();
    if (!outside && !is_below(sample.path, base))
      fail(where + " names " + line.path + ", which is outside of " +
           (base.empty() ? "the working folder" : base.string()) +
           ", where the list's paths start: move the list, or allow it if you trust it, by "
           "data.outside_paths=true or "
           "--outside-paths");
    std::error_code error;
    if (!fs::is_regular_file(sample.path, error))
      fail(where + " names " + sample.path + ", which is " +
           (fs::exists(sample.path, error) ? "no file" : "missing") + ": relative paths start at " +
           (base.empty() ? "the working folder" : base.string()));
    dataset.samples.push_back(std::move(sample));
  }
  return dataset;
}

}  // namespace

bool Dataset::labelled() const {
  return !samples.empty() &&
         std::all_of(samples.begin(), samples.end(), [](const Sample& s) { return s.label >= 0; });
}

Dataset open_dataset(const std::string& location, const std::vector<std::string>& classes,
                     const std::string& root, bool outside) {
  if (location.empty()) fail("no data set named: expected a folder or a list file");
  try {
    const fs::file_status status = fs::status(location);
    if (!fs::exists(status)) fail(location + " does not exist: expected a folder of images or a list file");
    if (fs::is_directory(status)) return open_folder(location, classes);
    if (!fs::is_regular_file(status)) fail(location + " is neither a folder nor a list file");
    if (has_image_extension(location))
      fail(location + " is a single image: expected a folder or a list file");
    return open_list(location, classes, root, outside);
  } catch (const fs::filesystem_error& error) {
    fail(location + " cannot be opened: " + error.code().message() + ": " + error.path1().string());
  }
}

Dataset without_labels(Dataset dataset) {
  for (Sample& sample : dataset.samples) sample.label = -1;
  return dataset;
}

std::pair<Dataset, Dataset> hold_out(const Dataset& dataset, int every) {
  if (every < 0 || every == 1)
    throw std::invalid_argument(
        "[data] hold_out expects 0 (nothing) or every k-th sample with k of 2 or more, got " +
        std::to_string(every));
  std::pair<Dataset, Dataset> parts{{dataset.origin, dataset.classes, {}},
                                    {dataset.origin, dataset.classes, {}}};
  for (size_t i = 0; i < dataset.samples.size(); ++i) {
    const bool held = every > 0 && i % static_cast<size_t>(every) == static_cast<size_t>(every) - 1;
    (held ? parts.second : parts.first).samples.push_back(dataset.samples[i]);
  }
  return parts;
}

}  // namespace rtfq::data

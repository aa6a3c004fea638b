#include "tools/bench/selection.h"

#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "kernels/plugin/host.h"
#include "kernels/runtime/device.h"
#include "tools/bench/shapes.h"
#include "tools/bench/suites.h"

namespace rtfq::lab {
namespace {

bool fits(const std::string& pattern, const std::string& name) {
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// How many letters must be changed, added or left out to make one word of the other.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t here = std::min({row[j] + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1])});
      corner = row[j];
      row[j] = here;
    }
  }
  return row.back();
}

/// The word that is likely to be meant, or nothing where none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& words) {
  std::string best;
  std::size_t least = 1 + word.size() / 3;
  for (const std::string& one : words)
    if (const std::size_t letters = distance(word, one);
        letters < least || (best.empty() && letters == least)) {
      least = letters;
      best = one;
    }
  return best;
}

std::vector<std::string> chosen_ops(const Selection& s) {
  std::vector<std::string> chosen;
  for (const std::string& pattern : s.ops.empty() ? std::vector<std::string>{"*"} : s.ops) {
    const std::size_t before = chosen.size();
    for (const std::string& op : operators())
      if (fits(pattern, op) && std::find(chosen.begin(), chosen.end(), op) == chosen.end())
        chosen.push_back(op);
    if (chosen.size() == before) {
      const std::string meant = nearest(pattern, operators());
      throw std::invalid_argument("[run] there is no operator '" + pattern + "'" +
                                  (meant.empty() ? "" : ", did you mean " + meant + "?") + " They are " +
                                  joined(operators()));
    }
  }
  return chosen;
}

struct Bits {
  int bits;
  bool is_signed;
};

Bits parse_bits(const std::string& text) {
  const bool is_signed = text.ends_with("s");
  const std::string digits = is_signed ? text.substr(0, text.size() - 1) : text;
  if (digits.size() != 1 || digits[0] < '2' || digits[0] > '8')
    throw std::invalid_argument("[run] expected --bits 2 to 8, signed ones as 4s, got '" + text + "'");
  return {digits[0] - '0', is_signed};
}

/// The shapes of one operator, without implementation.
std::vector<Item> shapes_of(const std::string& op, const Selection& s) {
  std::vector<Item> items;
  for (const std::string& pattern : s.cases)
    for (const CaseName& one : cases_of(op))
      if (pattern == "large" ? one.large : fits(pattern, one.name))
        items.push_back({op, "", "cpu", one.name});
  std::vector<std::string> shapes;
  for (const std::string& shape : s.shapes) {
    if (!names_network(shape) && std::filesystem::is_regular_file(shape)) {
      const auto lines = read_shapes(shape);
      shapes.insert(shapes.end(), lines.begin(), lines.end());
    } else {
      shapes.push_back(shape);
    }
  }
  const bool quantizer = quantizes(op);
  for (const std::string& shape : shapes)
    for (const std::string& dtype : s.dtypes.empty() ? std::vector<std::string>{"f32"} : s.dtypes)
      for (const std::string& word : quantizer && !s.bits.empty() ? s.bits : std::vector<std::string>{"4"}) {
        const Bits bits = parse_bits(word);
        std::vector<Item> some;
        if (names_network(shape)) {
          some = network_items(op, shape, bits.bits);
        } else {
          Item item{op, "", "cpu", "", parse_dims(shape)};
          if (quantizer) {
            item.bits = bits.bits;
            item.is_signed = bits.is_signed;
          }
          some = {item};
        }
        for (Item& item : some) {
          item.dtype = dtype;
          item.data = s.data;
          items.push_back(std::move(item));
        }
      }
  return items;
}

}  // namespace

std::vector<std::string> plugin_files(const Selection& s) {
  std::vector<std::string> files;
  for (const std::string& word : s.implementations)
    if (word.rfind("plugin:", 0) == 0 && word.find_first_of("./") != word.npos)
      files.push_back(kernels::plugin::split_name(word.substr(7)).first);
  return files;
}

std::vector<Offered> matching(const std::string& word, const std::string& op, const std::string& device,
                              const std::vector<Offered>& known) {
  std::vector<Offered> found;
  for (const Offered& one : known) {
    if (one.op != op || one.device != device) continue;
    const bool ours = one.file.empty();
    if (word == "ours" && ours && found.empty()) {
      found.push_back(one);
      found.back().implementation = own_choice;
      continue;
    }
    if (word == "all" || word == one.implementation || word == spoken_name(one) ||
        (!ours && (word == "plugin:" + one.file || word == "plugin:" + one.file + ":" + one.name)))
      found.push_back(one);
  }
  return found;
}

std::vector<Item> items_of(const Selection& s, const std::vector<Offered>& known) {
  const auto ops = chosen_ops(s);
  std::vector<Item> shapes;
  if (!s.suite.empty()) {
    for (Item& item : suite_items(s.suite, ops)) {
      if (std::find(ops.begin(), ops.end(), item.op) == ops.end()) continue;
      if (item.catalog_case.empty()) item.data = s.data;
      shapes.push_back(std::move(item));
    }
  } else if (s.shapes.empty() && s.cases.empty()) {
    // What one is likely to mean first: the shape of the quick suite, or else the catalog's large cases.
    for (const std::string& op : ops) {
      std::vector<Item> some;
      for (Item& item : suite_items("quick", ops))
        if (item.op == op) some.push_back(item);
      for (const CaseName& one : cases_of(op))
        if (some.empty() && one.large) some.push_back({op, "", "cpu", one.name});
      Selection with_shapes = s;
      for (const Item& item : some) {
        if (!item.catalog_case.empty()) {
          shapes.push_back(item);
          continue;
        }
        with_shapes.shapes = {dims_as_text(item.dims)};
        for (Item& swept : shapes_of(op, with_shapes)) shapes.push_back(std::move(swept));
      }
    }
  } else {
    for (const std::string& op : ops)
      for (Item& item : shapes_of(op, s)) shapes.push_back(std::move(item));
  }
  shapes = without_repeats(std::move(shapes));
  if (shapes.empty())
    throw std::invalid_argument(
        "[run] nothing to measure: the operators have no such case or shape; `rtfq-bench list --cases` "
        "shows the catalog's");

  std::vector<Item> items;
  std::vector<std::string> unused = s.implementations;
  for (const Item& shape : shapes)
    for (const std::string& device : s.devices.empty() ? std::vector<std::string>{"cpu"} : s.devices) {
      const std::string backend = kernels::to_string(kernels::parse_device(device).backend);
      std::vector<Offered> chosen;
      for (const std::string& word :
           s.implementations.empty() ? std::vector<std::string>{"all"} : s.implementations)
        for (const Offered& one : matching(word, shape.op, backend, known)) {
          std::erase(unused, word);
          const bool there = std::any_of(chosen.begin(), chosen.end(), [&](const Offered& o) {
            return o.implementation == one.implementation;
          });
          if (!there) chosen.push_back(one);
        }
      for (const Offered& one : chosen) {
        Item item = shape;
        item.implementation = one.implementation;
        item.device = device;
        items.push_back(std::move(item));
      }
    }
  std::erase(unused, "all");
  std::erase(unused, "ours");
  if (!unused.empty()) {
    std::string list;
    for (const Offered& one : known)
      if (std::find(ops.begin(), ops.end(), one.op) != ops.end())
        list += (list.empty() ? "" : ", ") + one.op + " by " + spoken_name(one) + " on " + one.device;
    throw std::invalid_argument("[run] no implementation '" + unused.front() +
                                "' of these operators on these devices: there are " + list);
  }
  if (items.empty())
    throw std::invalid_argument("[run] nothing to measure: no implementation of these operators on " +
                                joined(s.devices.empty() ? std::vector<std::string>{"cpu"} : s.devices) +
                                (kernels::built_with_cuda ? "" : "; this build has no CUDA"));
  return items;
}

}  // namespace rtfq::lab

#include "tools/kernels_option.h"

#include <algorithm>

#include "kernels/operator.h"
#include "kernels/plugin/host.h"
#include "tools/command.h"

namespace rtfq::cli {
namespace {

using kernels::plugin::Offer;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// What the file offers for the operator on the CPU; the one called `name` where there are several.
const Offer& offer_of(const kernels::plugin::Loaded& loaded, const std::string& family,
                      const std::string& name) {
  std::vector<std::string> there, names;
  const Offer* found = nullptr;
  for (const Offer& offer : loaded.offers) {
    there.push_back(offer.family + " on " + kernels::to_string(offer.backend));
    if (offer.family != family || offer.backend != kernels::Backend::cpu) continue;
    names.push_back(kernels::plugin::declared_name(loaded, offer));
    if (name.empty() || name == names.back()) found = &offer;
  }
  if (names.empty())
    throw UsageError("[kernel] " + loaded.file + " has no " + family + " for the CPU: it has " +
                     joined(there));
  if (!found)
    throw UsageError("[kernel] " + loaded.file + " has no " + family + " called '" + name + "': there are " +
                     joined(names));
  if (name.empty() && names.size() > 1)
    throw UsageError("[kernel] " + loaded.file + " has several of " + family + ": name one, --kernel " +
                     family + "=" + loaded.file + ":NAME with NAME among " + joined(names));
  return *found;
}

const Offer& offer_of(const std::string& setting) {
  const std::size_t equals = setting.find('=');
  const auto [file, name] = kernels::plugin::split_name(setting.substr(equals + 1));
  return offer_of(kernels::plugin::load(file), setting.substr(0, equals), name);
}

}  // namespace

void use_kernels(const std::vector<std::string>& settings) {
  std::vector<std::string> preferred;
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    const std::string family = setting.substr(0, equals);
    const auto families = kernels::plugin::families();
    if (equals == setting.npos || equals + 1 == setting.size())
      throw UsageError(
          "[kernel] expected --kernel OPERATOR=FILE or OPERATOR=FILE:NAME, such as "
          "fakequant.forward=./my.so, got '" +
          setting + "'");
    if (std::find(families.begin(), families.end(), family) == families.end())
      throw UsageError("[kernel] there is no operator '" + family + "' for plug-ins: they are " +
                       joined(families));
    if (family.rfind("convquant.", 0) == 0 || family.rfind("int4.", 0) == 0)
      throw UsageError("[kernel] " + family +
                       " is of deployment, training never calls it: rtfq-bench verifies and times it");
    try {
      const Offer& offer = offer_of(setting);
      kernels::prefer(family, offer.implementation);
      preferred.push_back(family);
      note(family + " by " + offer.implementation + " of " +
           kernels::plugin::split_name(setting.substr(equals + 1)).first +
           (kernels::plugin::rounds(family) ? ", which rounds: " + kernels::plugin::rounding_text(*offer.op)
                                            : "") +
           "; shapes that it refuses are left to ours");
    } catch (const UsageError&) {
      throw;
    } catch (const std::runtime_error& error) {
      throw UsageError(error.what());
    }
  }
  // A kernel of one direction trains beside ours of the other; whoever brought it should know.
  for (const std::string& family : preferred) {
    const std::string stem = family.substr(0, family.find('.'));
    std::vector<std::string> ours;
    for (const std::string& other : kernels::plugin::families())
      if (other.rfind(stem + ".", 0) == 0 &&
          std::find(preferred.begin(), preferred.end(), other) == preferred.end())
        ours.push_back(other);
    if (!ours.empty()) note("ours stay: " + joined(ours));
  }
}

void note_use_of_kernels(const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    const Offer& offer = offer_of(setting);
    const kernels::plugin::Use use = kernels::plugin::use_of(offer);
    note(offer.family + " by " + offer.implementation + ": " +
         (use.launches ? std::to_string(use.launches) + " launches"
                       : "never launched, ours computed all of it") +
         (use.refusal.empty() ? "" : "; of what it refused the last: " + use.refusal));
  }
}

}  // namespace rtfq::cli

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

/// What the file offers for the operator on the CPU.
const Offer& offer_of(const kernels::plugin::Loaded& loaded, const std::string& family) {
  std::vector<std::string> there;
  for (const Offer& offer : loaded.offers) {
    if (offer.family == family && offer.backend == kernels::Backend::cpu) return offer;
    there.push_back(offer.family + " on " + kernels::to_string(offer.backend));
  }
  throw UsageError("[kernel] " + loaded.file + " has no " + family + " for the CPU: it has " + joined(there));
}

}  // namespace

void use_kernels(const std::vector<std::string>& settings) {
  std::vector<std::string> preferred;
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    const std::string family = setting.substr(0, equals);
    const auto families = kernels::plugin::families();
    if (equals == setting.npos || equals + 1 == setting.size())
      throw UsageError("[kernel] expected --kernel OPERATOR=FILE such as fakequant.forward=./my.so, got '" +
                       setting + "'");
    if (std::find(families.begin(), families.end(), family) == families.end())
      throw UsageError("[kernel] there is no operator '" + family + "' for plug-ins: they are " +
                       joined(families));
    try {
      const Offer& offer = offer_of(kernels::plugin::load(setting.substr(equals + 1)), family);
      kernels::prefer(family, offer.implementation);
      preferred.push_back(family);
      const bool rounds = family == "fakequant.forward" || family == "fakequant.backward";
      note(family + " by " + offer.implementation + " of " + setting.substr(equals + 1) +
           (rounds ? ", which rounds: " + kernels::plugin::rounding_text(*offer.op) : "") +
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

}  // namespace rtfq::cli

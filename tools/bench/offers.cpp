#include "tools/bench/offers.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/catalog/catalog.h"
#include "kernels/plugin/host.h"
#include "tools/bench/subject.h"

namespace rtfq::lab {

namespace catalog = kernels::catalog;

void to_json(nlohmann::json& j, const Offered& o) {
  j = {{"op", o.op},
       {"implementation", o.implementation},
       {"device", o.device},
       {"file", o.file},
       {"name", o.name},
       {"alone", o.alone},
       {"rounding", o.rounding}};
}

void from_json(const nlohmann::json& j, Offered& o) {
  o = {j.at("op"),   j.at("implementation"), j.at("device"),  j.at("file"),
       j.at("name"), j.at("alone"),          j.at("rounding")};
}

std::vector<std::string> operators() {
  std::vector<std::string> names;
  for (const auto& entry : catalog::entries())
    if (std::find(names.begin(), names.end(), entry.op) == names.end()) names.push_back(entry.op);
  return names;
}

std::vector<CaseName> cases_of(const std::string& op) {
  std::vector<CaseName> cases;
  for (const auto& entry : catalog::entries())
    if (entry.op == op) cases.push_back({entry.case_name, entry.large});
  return cases;
}

std::string case_description(const std::string& op, const std::string& name) {
  for (const auto& entry : catalog::entries())
    if (entry.op == op && entry.case_name == name) return entry.make()->description();
  throw std::invalid_argument("[" + op + "] the catalog has no case '" + name + "'");
}

std::vector<Offered> all_offers() {
  std::vector<Offered> all;
  for (const std::string& op : operators()) {
    const auto& entries = catalog::entries();
    const auto entry =
        std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.op == op && !e.large; });
    if (entry == entries.end()) continue;
    const auto instance = entry->make();
    for (const auto backend : {kernels::Backend::cpu, kernels::Backend::simt, kernels::Backend::cuda}) {
      std::vector<std::string> names;
      try {
        names = instance->implementations(backend);
      } catch (const std::runtime_error&) {
        continue;  // this build has no such backend, or the operator no kernel for it
      }
      for (const std::string& name : names) {
        Item item{op, name, kernels::to_string(backend), {}};
        Offered made{op, name, item.device};
        made.rounding = rounding_of(item);
        for (const auto& plugin : kernels::plugin::loaded())
          for (const auto& offer : plugin.offers)
            if (offer.family == op && offer.implementation == name) {
              made.file = plugin.file;
              made.name = kernels::plugin::declared_name(plugin, offer);
            }
        for (Offered& other : all)
          if (!made.file.empty() && other.op == op && other.device == made.device && other.file == made.file)
            other.alone = made.alone = false;
        all.push_back(std::move(made));
      }
    }
  }
  return all;
}

}  // namespace rtfq::lab

#pragma once
// What can be measured: operators, their implementations and devices; asked of a worker, since plug-ins are
// among them.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace rtfq::lab {

/// One implementation of one operator on one device.
struct Offered {
  std::string op, implementation, device;
  std::string file{};      ///< of a plug-in
  std::string name{};      ///< in that file, as it declares it
  bool alone = true;       ///< it is the file's only one for the operator and device
  std::string rounding{};  ///< of a quantizer
};
void to_json(nlohmann::json&, const Offered&);
void from_json(const nlohmann::json&, Offered&);

/// Of this process, plug-ins loaded so far included; operators in the catalog's order, each device's list in
/// its own.
std::vector<Offered> all_offers();

/// An operator's cases in the catalog.
struct CaseName {
  std::string name;
  bool large;
};
std::vector<std::string> operators();
std::vector<CaseName> cases_of(const std::string& op);
/// Its shape and outputs in words; makes the case.
std::string case_description(const std::string& op, const std::string& name);

}  // namespace rtfq::lab

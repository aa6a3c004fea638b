#include "models/checkpoint/state_dict.h"

#include <algorithm>
#include <stdexcept>

namespace rtfq::checkpoint {
namespace {

/// What training scripts call the dictionaries, those with averaged weights first.
constexpr const char* preferred[] = {"state_dict_ema",
                                     "model_ema",
                                     "ema_state_dict",
                                     "ema",
                                     "state_dict",
                                     "model_state_dict",
                                     "model",
                                     "net",
                                     ""};

std::string shown_group(const std::string& group) {
  return group.empty() ? "(the outermost)" : "'" + formats::shown_name(group) + "'";
}

/// Groups with a convolution's weight, in the file's order.
std::vector<std::string> groups_of(const formats::TensorList& list) {
  std::vector<std::string> groups;
  for (const auto& tensor : list.tensors)
    if (tensor.array.shape.size() == 4 &&
        std::find(groups.begin(), groups.end(), tensor.group) == groups.end())
      groups.push_back(tensor.group);
  return groups;
}

std::string chosen_group(const std::vector<std::string>& groups, const std::string& wanted) {
  std::string listed;
  for (const std::string& group : groups) listed += (listed.empty() ? "" : ", ") + shown_group(group);
  const auto has = [&](const std::string& group) {
    return std::find(groups.begin(), groups.end(), group) != groups.end();
  };
  if (groups.empty()) throw std::runtime_error("it holds no weights of convolutions");
  if (!wanted.empty()) {
    if (has(wanted)) return wanted;
    throw std::runtime_error("it has no dictionary '" + wanted + "' with a network; it has " + listed);
  }
  if (groups.size() == 1) return groups.front();
  for (const char* group : preferred)
    if (has(group)) return group;
  throw std::runtime_error("it holds several networks, " + listed + ": choose one with --weights NAME");
}

/// What stands before "conv1.weight" of a ResNet: "", "module.", "backbone.", ...; the shortest that fits.
std::string prefix_of(const std::map<std::string, formats::ArrayView>& tensors) {
  const std::string stem = "conv1.weight", first = "layer1.0.conv1.weight";
  std::string best;
  bool found = tensors.contains(stem);
  for (const auto& [name, array] : tensors) {
    if (found && best.empty()) break;
    if (name.size() <= stem.size() || !name.ends_with("." + stem)) continue;
    const std::string prefix = name.substr(0, name.size() - stem.size());
    if (tensors.contains(prefix + first) && (!found || prefix.size() < best.size()))
      best = prefix, found = true;
  }
  return best;
}

/// The components that all names share, where there is no ResNet to go by.
std::string shared_prefix(const std::map<std::string, formats::ArrayView>& tensors) {
  std::string shared = tensors.begin()->first;
  for (const auto& [name, array] : tensors) {
    if (name == "n_averaged") continue;
    const auto differ = std::mismatch(shared.begin(), shared.end(), name.begin(), name.end()).first;
    shared.erase(differ, shared.end());
  }
  return shared.substr(0, shared.rfind('.') + 1);
}

}  // namespace

StateDict state_dict(const formats::TensorList& list, const std::string& wanted) {
  const std::vector<std::string> groups = groups_of(list);
  const std::string group = chosen_group(groups, wanted);
  StateDict dict;
  std::map<std::string, formats::ArrayView> tensors;
  for (const auto& tensor : list.tensors)
    if (tensor.group == group) tensors[tensor.name] = tensor.array;
  if (!group.empty()) dict.notes.push_back("weights are in the dictionary " + shown_group(group));
  for (const std::string& other : groups)
    if (other != group) dict.notes.push_back("another network, " + shown_group(other) + ", was left");
  std::string prefix = prefix_of(tensors);
  if (prefix.empty() && !tensors.contains("conv1.weight")) prefix = shared_prefix(tensors);
  if (!prefix.empty()) dict.notes.push_back("names begin with '" + formats::shown_name(prefix) + "'");
  for (const auto& [name, array] : tensors) {
    if (name.starts_with(prefix))
      dict.tensors[name.substr(prefix.size())] = array;
    else
      dict.dropped.push_back(name);
  }
  return dict;
}

}  // namespace rtfq::checkpoint

#include "training/experiment.h"

#include <stdexcept>

namespace rtfq::experiment {

const Task& Experiment::task(const std::string& wanted) const {
  for (const Task& task : tasks)
    if (task.name == wanted) return task;
  throw std::out_of_range("no task " + wanted);
}

const Method& Experiment::method(const std::string& wanted) const {
  for (const Method& method : methods)
    if (method.name == wanted) return method;
  throw std::out_of_range("no method " + wanted);
}

std::vector<std::string> Experiment::members(const std::string& method_or_group) const {
  for (const Group& group : groups)
    if (group.name == method_or_group) return group.methods;
  return {method_or_group};
}

std::string Experiment::title_of(const std::string& method_or_group) const {
  for (const Group& group : groups)
    if (group.name == method_or_group) return group.title;
  return method(method_or_group).title;
}

}  // namespace rtfq::experiment

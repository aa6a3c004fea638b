#pragma once
// Plug-ins at run time: shared libraries of kernels/plugin.h, and what comes in other forms (a Python file, a
// cubin with its launch description), become implementations at the end of their operators' lists, called
// "plugin:NAME". Nothing chooses them by itself: `prefer(op, "plugin:NAME")` does, and the lab asks for them
// by name.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "kernels/plugin.h"
#include "kernels/runtime/device.h"

namespace rtfq::kernels::plugin {

/// What a loaded file offers for one operator.
struct Offer {
  std::string family;          ///< "fakequant.forward"
  std::string implementation;  ///< "plugin:mine"
  Backend backend;
  const rtfq_operator* op;
};

struct Loaded {
  std::string file;  ///< as it was named
  std::string name, version;
  std::vector<Offer> offers;
};

/// Loads a file and adds its operators; a second time it answers what it did. .so (or anything else):
/// kernels/plugin.h; .py: python.h; .json: cubin.h. Throws std::runtime_error ("[plugin] ...") when it cannot
/// be loaded, is of another ABI version, or declares what there is not.
const Loaded& load(const std::string& file);
std::vector<Loaded> loaded();

/// The offer behind an implementation's name, or nullptr for one of the build's own.
const Offer* find(const std::string& family, const std::string& implementation);
/// What an implementation has computed in this process, and why it refused a shape last (empty: it never
/// did).
struct Use {
  std::size_t launches = 0;
  std::string refusal;
};
Use use_of(const Offer&);
/// What tells an offer from the file's others of its family: the name it declares, with ".2" where the file
/// gives one name twice.
std::string declared_name(const Loaded&, const Offer&);
/// "FILE:NAME" in two, where there is a file FILE and none called FILE:NAME; else all of it is the file.
std::pair<std::string, std::string> split_name(const std::string& text);
/// Families that plug-ins may implement.
std::vector<std::string> families();

/// Seconds that the last launch of any plug-in on this thread took by its own clock; NaN: it has none.
double last_launch_seconds();

/// "multiply by the reciprocal, ties to even".
std::string rounding_text(const rtfq_operator&);

/// Whether a family's results depend on how its quantizers round.
bool rounds(const std::string& family);
/// How the operator's codes of 4 bits lie in their bytes; RTFQ_BYTES: the family has none.
rtfq_nibbles nibbles_of(const rtfq_operator&);

/// Throws unless the table can be used: names, families, functions, operands. What the loaders share.
void check(const rtfq_plugin&, const std::string& file);

}  // namespace rtfq::kernels::plugin

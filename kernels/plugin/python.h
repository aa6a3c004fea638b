#pragma once
// Plug-ins written in Python (docs/lab.md): the file runs in a python3 process of its own, operands lie in
// memory that both processes see. A launch copies them there and back; the operator's own clock leaves that
// out.

#include <string>

#include "kernels/plugin.h"

namespace rtfq::kernels::plugin {

/// Starts the interpreter ($RTFQ_PYTHON, else python3), runs the file and answers what its OPERATORS declare.
/// Throws std::runtime_error with Python's own message when that fails.
const rtfq_plugin* open_python(const std::string& file);

}  // namespace rtfq::kernels::plugin

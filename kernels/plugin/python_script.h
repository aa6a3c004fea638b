#pragma once

namespace rtfq::kernels::plugin {

/// The text of python_host.py; made by kernels/CMakeLists.txt.
extern const char* const python_script;

}  // namespace rtfq::kernels::plugin

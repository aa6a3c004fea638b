#pragma once
// `--kernel OPERATOR=FILE[:NAME]`: training with a plug-in's kernel (docs/lab.md).

#include <string>
#include <vector>

namespace rtfq::cli {

/// Loads each file and makes the operator prefer what it offers; notes on stderr what computes what. Throws
/// UsageError for what is no OPERATOR=FILE, a file that cannot be loaded, or one that offers nothing for the
/// operator on the CPU.
void use_kernels(const std::vector<std::string>& settings);

/// Notes on stderr how often each was launched since, and what it refused.
void note_use_of_kernels(const std::vector<std::string>& settings);

}  // namespace rtfq::cli

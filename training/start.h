#pragma once
// What a run starts from: the pretrained network that the configuration's `checkpoint` names.

#include <string>

#include "models/checkpoint/pretrained.h"
#include "training/config.h"

namespace rtfq {

/// Fills a new network; throws std::runtime_error for a file that cannot be read, std::invalid_argument for a
/// network that is not the configuration's.
checkpoint::StartReport start_from_checkpoint(Supernet&, const Config&);

/// What a run writes down of it: {"file", "sha256", "format", "arch", "sorted", "source_sha256"} as JSON.
std::string record_of(const checkpoint::StartReport&);
/// One line for people from record_of's text.
std::string record_text(const std::string& record);

}  // namespace rtfq

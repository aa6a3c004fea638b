#pragma once
// Pixels of a caller's layout as an image of the model's channels, with the arithmetic of the decoders
// (data/image.h).

#include "data/image.h"
#include "tools/deploy/rtfq.h"

namespace rtfq::deploy {

/// Throws std::invalid_argument for a null pointer, a size or stride that cannot be, or too many pixels.
data::Image image_of(const rtfq_image&, int channels);

}  // namespace rtfq::deploy

#include <stdexcept>

#include "data/jpeg.h"

namespace rtfq::data {

bool turbo_available() {
  return false;
}

Image decode_turbo(const uint8_t*, size_t, int, std::string*) {
  throw std::logic_error("[data] this build has no libjpeg-turbo");
}

}  // namespace rtfq::data

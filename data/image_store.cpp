#include "data/image_store.h"

#include <stdexcept>

namespace rtfq::data {

std::shared_ptr<const Image> ImageStore::get(uint32_t index) {
  {
    const std::lock_guard lock(mutex_);
    const Entry& entry = entries_[index];
    if (entry.image) return entry.image;
    if (!entry.error.empty()) throw std::runtime_error(entry.error);
  }
  try {
    auto image = std::make_shared<const Image>(load_image(samples_[index].path, channels_));
    const int64_t bytes = static_cast<int64_t>(image->pixels.capacity() + sizeof(Image));
    const std::lock_guard lock(mutex_);
    if (!entries_[index].image && used_ + bytes <= budget_) {
      entries_[index].image = image;
      used_ += bytes;
    }
    return image;
  } catch (const std::runtime_error& error) {  // a bad file; lack of memory is not remembered
    const std::lock_guard lock(mutex_);
    entries_[index].error = error.what();
    throw;
  }
}

}  // namespace rtfq::data

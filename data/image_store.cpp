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
    if (cache_)  // the system keeps what was read of the file
      if (std::shared_ptr<const Image> image = cache_->get(index)) return image;
    auto image = std::make_shared<const Image>(prepare_file(samples_[index].path, preparation_));
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

#include "models/deploy/program.h"

#include <stdexcept>

#include "kernels/runtime/device.h"
#include "models/deploy/builder.h"

namespace rtfq::deploy {

Program::Program(const packed::Model& model, std::size_t subnet, int64_t batch, Weights& weights, int threads)
    : subnet_(subnet), batch_(batch) {
  if (subnet >= model.subnets().size())
    throw std::invalid_argument("[deploy] the model has " + std::to_string(model.subnets().size()) +
                                " subnets; there is no number " + std::to_string(subnet));
  if (batch < 1 || batch > most_images)
    throw std::invalid_argument("[deploy] a batch has 1 to " + std::to_string(most_images) + " images, not " +
                                std::to_string(batch));
  Builder(*this, model, weights, threads ? threads : kernels::runtime::threads()).build();
}

void Program::run(void* arena, const float* images, float* logits, const Observer* observer) const {
  Pass pass{static_cast<std::byte*>(arena), images, 0, logits, observer};
  if (!singly_.empty())
    for (; pass.image < batch_; ++pass.image, pass.images += image_floats_)
      for (const Operation& operation : singly_) operation(pass);
  for (const Operation& operation : operations_) operation(pass);
}

}  // namespace rtfq::deploy

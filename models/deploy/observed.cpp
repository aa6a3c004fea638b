#include "models/deploy/observed.h"

namespace rtfq::deploy {

Observed observe(Supernet& net, const Subnet& subnet, Domain domain, const Tensor& images) {
  Observed found;
  for (Quantizer* quantizer : net.quantizers())
    quantizer->observe([&found](const Quantizer& q, const Tensor& x, int bits) {
      if (q.options().weight) return;
      const auto bounds = q.bounds(bits);
      const Tensor codes = QTensor::quantize(x, q.step(bits).value, q.used_bits(bits), bounds.qn > 0).codes;
      auto& all = found.codes[q.name()];
      for (int64_t i = 0; i < codes.count(); ++i)
        all.push_back(bounds.qn ? codes.as<int8_t>()[i] : codes.as<uint8_t>()[i]);
    });
  const BatchPart part{domain, images.dim(0)};
  Tape tape(false);
  found.logits = net.forward(tape, subnet, images, std::span(&part, 1), NormMode::stored).data.to_vector();
  for (Quantizer* quantizer : net.quantizers()) quantizer->observe({});
  return found;
}

Observed observe(const Program& program, std::size_t classes, const Tensor& images, void* arena) {
  Observed found;
  found.logits.resize(static_cast<std::size_t>(images.dim(0)) * classes);
  const Observer observer = [&](const std::string& name, const void* codes, int64_t count) {
    auto& all = found.codes[name];
    for (int64_t i = 0; i < count; ++i)
      all.push_back(name == "input" ? static_cast<const int8_t*>(codes)[i]
                                    : static_cast<const uint8_t*>(codes)[i]);
  };
  program.run(arena, images.as<float>(), found.logits.data(), &observer);
  return found;
}

}  // namespace rtfq::deploy

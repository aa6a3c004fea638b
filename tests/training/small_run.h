#pragma once
// A run of a dozen steps on stripes, and the bits of its state.

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/stripes.h"
#include "training/trainer.h"

namespace rtfq::test {

inline Config small_config(const Stripes& stripes) {
  Config config;
  config.data.source = stripes.at("source");
  config.data.target = stripes.at("target");
  config.data.channels = 1;
  config.data.mean = config.data.deviation = {0.5f};
  config.data.augmentation.shift = 0.1f;
  config.model.arch = "resnet14_small";
  config.model.bank = {{1.0, 0.5}, {1.0}, {12, 8}, {8, 4}, 8};
  config.optimizer.learning_rate = 0.02;
  config.optimizer.classifier_rate = 1;
  config.optimizer.clip_norm = 5;
  config.loss.teacher_temperature = 0.4;
  config.loss.student_temperature = 1;
  config.train.steps = 12;
  config.train.float_steps = 3;
  config.train.source_steps = 3;
  config.train.batch = 8;
  config.train.calibration_images = 32;
  return config;
}

/// Every bit of the training state.
inline std::string bits_of(const Trainer& trainer, const Stripes& stripes) {
  const std::string path = stripes.at("bits.safetensors");
  trainer.save(path);
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  return bytes.substr(8 + header);  // paths differ in the header
}

}  // namespace rtfq::test

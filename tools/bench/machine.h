#pragma once
// The ceilings of this machine, measured once and kept with their date.

#include <nlohmann/json.hpp>
#include <string>

#include "kernels/cpu/machine.h"
#include "kernels/operator.h"
#include "kernels/runtime/device.h"

namespace rtfq::lab {

struct Machine {
  std::string cpu, date;               ///< the processor or the GPU
  int threads = 0;                     ///< 0 on a GPU
  kernels::cpu::MemoryRates memory;    ///< of a GPU that of its copy, whatever the share of reading
  double f32 = 0, bf16 = 0, int8 = 0;  ///< operations a second
  std::string by = "oneDNN";           ///< whose matrix products those are
  double cache = 0;                    ///< bytes of a GPU's level-two cache; 0: ask the processor

  /// What memory gives to who writes as much as it reads.
  double copy() const { return memory[kernels::cpu::MemoryMix::copy]; }
  /// "memory: copy 40.1, triad 38.2, Schoenauer triad 37.0, read alone 31.5 GB/s"; of a GPU the copy alone.
  std::string memory_text() const;
  double peak(const std::string& dtype) const {
    if (dtype == "u8" && int8 > 0) return int8;
    if (dtype == "tf32" && bf16 > 0)
      return bf16 / 2;  // not measured: what NVIDIA's datasheets say of the two
    return dtype == "bf16" && bf16 > 0 ? bf16 : f32;
  }
  /// Seconds below which no launch of such cost can be on the roofline, memory giving that many bytes a
  /// second.
  double floor_seconds(const kernels::Cost&, double bytes_a_second, const std::string& dtype) const;
};
void to_json(nlohmann::json&, const Machine&);
void from_json(const nlohmann::json&, Machine&);

/// From $XDG_CACHE_HOME/rtfq (else ~/.cache/rtfq), for this processor and number of threads; measured when it
/// is not there or `refresh`. What is measured is noted on stderr.
Machine this_machine(bool refresh, const kernels::Device& device = {});
void keep_machine(const Machine&, const std::string& file);
std::string machine_file(int threads, const kernels::Device& device = {});

}  // namespace rtfq::lab

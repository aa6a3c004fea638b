#pragma once
// The caches of the processors that this process may run on.

#include <cstdint>
#include <string>

namespace rtfq::kernels::cpu {

/// Bytes of last-level cache that they reach together, a shared one counted once; 0 where the system does not
/// list it. `sysfs`: the folder of processors. (sysconf names a whole AMD socket's, of which a core reaches
/// one part in twelve.)
int64_t last_level_cache(const std::string& sysfs = "/sys/devices/system/cpu");

}  // namespace rtfq::kernels::cpu

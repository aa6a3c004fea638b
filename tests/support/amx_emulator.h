#pragma once
// AMX on processors that have none: their answer to its instructions, the signal SIGILL, is taken and the
// instruction computed in its place. So the code that tests run is the code that is there, instruction by
// instruction; only its time means nothing (about a microsecond each).

#include <csignal>

namespace rtfq::test {

/// While it lives, AMX's instructions on tiles of bytes work on every thread: as the processor's own where it
/// has them, else emulated. Another illegal instruction ends the process, as does a product without a
/// configuration, or one of tiles whose sizes do not fit each other.
class AmxEmulator {
 public:
  AmxEmulator();
  ~AmxEmulator();
  AmxEmulator(const AmxEmulator&) = delete;
  AmxEmulator& operator=(const AmxEmulator&) = delete;

 private:
  struct sigaction before_ {};
};

}  // namespace rtfq::test

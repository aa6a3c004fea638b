#pragma once

namespace rtfq::cli {

/// From here on the first Ctrl-C, SIGTERM or SIGUSR1 (how schedulers announce the end of a job's time) only
/// makes interrupted() true. A second Ctrl-C ends the process at once; the others may come several times,
/// from a scheduler and from mpirun.
void catch_interrupts();
/// Before there is anything to save: the same signals end the process with `status`.
void exit_on_interrupts(int status);
bool interrupted();
/// Interrupted so long ago that what is going on should be left instead of finished.
bool interrupted_for_long();

}  // namespace rtfq::cli

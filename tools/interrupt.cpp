#include "tools/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <ctime>

namespace rtfq::cli {
namespace {

/// Seconds that a step may take to end by itself. Saving has to end within ten seconds of the signal.
constexpr double patience = 4;

volatile std::sig_atomic_t caught = 0, exit_status = 0;
volatile double caught_at = 0;

double now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);  // may be called in a signal handler
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void remember(int) {
  if (!caught) caught_at = now();
  caught = 1;
}

void leave(int) {
  constexpr char text[] =
      "rtfq: interrupted before the first step; nothing was lost. Go on with the same command and --resume\n";
  if (::write(STDERR_FILENO, text, sizeof text - 1) < 0) ::_exit(exit_status);
  ::_exit(exit_status);
}

void handle(void (*handler)(int), int first_only) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = static_cast<int>(SA_RESTART) | first_only;
  sigaction(SIGINT, &action, nullptr);
  action.sa_flags = static_cast<int>(SA_RESTART);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}

}  // namespace

void catch_interrupts() {
  handle(remember, static_cast<int>(SA_RESETHAND));
}

void exit_on_interrupts(int status) {
  exit_status = status;
  handle(leave, 0);
}

bool interrupted() {
  return caught != 0;
}

bool interrupted_for_long() {
  return caught != 0 && now() - caught_at > patience;
}

}  // namespace rtfq::cli

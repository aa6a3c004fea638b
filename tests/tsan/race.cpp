// Whether the tsan preset sees anything: a sum that the threads of a loop add to without an order, or (with
// an argument) with one. Must fail, and must not.
#include <atomic>
#include <cstdio>

int main(int count, char**) {
  static int plain = 0;
  static std::atomic<int> atomic{0};
  const bool race = count == 1;
#pragma omp parallel for schedule(static)
  for (int i = 0; i < 1000; ++i) {
    if (race)
      plain += i;
    else
      atomic += i;
  }
  std::printf("%d\n", plain + atomic);
}

// The part of libgomp that g++ calls for our loops, on std::thread: ThreadSanitizer does not see into
// libgomp, whose barriers it would not know, and would report every loop. Linked in its place in the tsan
// preset; static schedules need no more than this. A region has threads of its own, made and joined, which is
// slow and exactly what TSan understands.
#include <barrier>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace {

int from_environment() {
  const char* text = std::getenv("RTFQ_TSAN_THREADS");
  const int count = text ? std::atoi(text) : 0;
  return count > 0 ? count : 3;
}

struct Team {
  int size = 1;
  std::unique_ptr<std::barrier<>> barrier;
};

thread_local int wanted = 0;  ///< by omp_set_num_threads
thread_local int number = 0;
thread_local Team* team = nullptr;

}  // namespace

extern "C" {

int omp_get_thread_num() {
  return number;
}
int omp_get_num_threads() {
  return team ? team->size : 1;
}
int omp_get_max_threads() {
  static const int usual = from_environment();
  return wanted > 0 ? wanted : usual;
}
void omp_set_num_threads(int count) {
  wanted = count;
}
int omp_in_parallel() {
  return team != nullptr && team->size > 1;
}

/// `count` 0: as many as usual; nested regions have one.
void GOMP_parallel(void (*body)(void*), void* data, unsigned count, unsigned) {
  Team* const outer = team;
  const int outer_number = number;
  const int size = outer ? 1 : count > 0 ? static_cast<int>(count) : omp_get_max_threads();
  Team mine{size, std::make_unique<std::barrier<>>(size)};
  const auto run = [&](int which) {
    team = &mine, number = which;
    body(data);
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < size; ++i) threads.emplace_back(run, i);
  run(0);
  for (std::thread& thread : threads) thread.join();
  team = outer, number = outer_number;
}

void GOMP_barrier() {
  if (team) team->barrier->arrive_and_wait();
}

}  // extern "C"
